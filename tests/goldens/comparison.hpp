// SPDX-License-Identifier: Apache-2.0
/// \file  Compares results with the tensors of a golden file. The error of a tensor is its largest absolute
/// difference,
///        relative to the largest absolute value of the expected tensor.
///
/// Tolerances: float64 1e-12 for results and 1e-11 for gradients, 2e-7 for tensors that are stored in
/// float32; float32 1e-5 and 1e-4, or what the family allows.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include <tests/goldens/golden.hpp>

namespace goldens {

/// Collects the comparisons of one run of one file. Every out.* and grad.* must be compared or left out by
/// name.
class comparison {
 public:
  comparison(golden const& g, bool single_precision) : golden_(&g), single_(single_precision) {}

  /// Tolerances of single precision for a family that amplifies rounding.
  void allow_single(double results, double gradients) {
    single_result_ = results;
    single_gradient_ = gradients;
  }

  /// Compares row-major values with the tensor `name`, if the file has it.
  template <class T> void check(std::string const& name, std::vector<T> const& values) {
    if (!golden_->contains(name)) return;
    std::vector<double> const expected = golden_->file().read<double>(name);
    if (expected.size() != values.size())
      golden_->fail("tensor '" + name + "': expected " + std::to_string(values.size()) + " elements, got " +
                    std::to_string(expected.size()));
    note(name, relative_error(expected, values), tolerance(name));
  }

  /// Compares what a view shows, in row-major order of its axes.
  template <class T, int R, class S> void check(std::string const& name, smx::view<T, R, S> v) {
    check(name, elements(v));
  }
  template <class T, int R, class S> void check(std::string const& name, smx::tensor<T, R, S> const& t) {
    check(name, t.cview());
  }

  /// The tensor is not compared: the notes of the file call it an alternative, or it has a freedom of sign.
  void leave_out(std::string const& name) { seen_.insert(name); }

  /// Throws unless every result and gradient of the file was compared or left out.
  void expect_complete() const {
    for (auto const& name : golden_->file().names())
      if ((name.starts_with("out.") || name.starts_with("grad.")) && !seen_.contains(name))
        golden_->fail("tensor '" + name + "' was not compared");
    if (worst_.empty()) golden_->fail("nothing to compare");
  }

  bool passed() const { return error_ <= tolerance_; }
  /// The tensor that uses most of its tolerance, its error and its tolerance.
  std::string const& worst() const { return worst_; }
  double error() const { return error_; }
  double tolerance() const { return tolerance_; }

 private:
  template <class T>
  static double relative_error(std::vector<double> const& expected, std::vector<T> const& actual) {
    double scale = 0, error = 0;
    for (std::size_t n = 0; n < expected.size(); ++n) {
      double const e = expected[n], a = static_cast<double>(actual[n]);
      if (std::isfinite(e)) scale = std::max(scale, std::abs(e));
      if (e == a) continue;  // equal infinities too
      double const difference = std::abs(e - a);
      error = std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::max(error, difference);
    }
    // Below this the expected values are the rounding noise of a result that is zero.
    return error / (scale < 1e-12 ? 1.0 : scale);
  }

  double tolerance(std::string const& name) const {
    bool const gradient = name.starts_with("grad.");
    if (single_) return gradient ? single_gradient_ : single_result_;
    bool const rounded = golden_->file().at(name).dtype == smx::stored_dtype::f32;
    return rounded ? 2e-7 : gradient ? 1e-11 : 1e-12;
  }

  void note(std::string const& name, double error, double allowed) {
    seen_.insert(name);
    if (!worst_.empty() && error * tolerance_ <= error_ * allowed) return;
    worst_ = name;
    error_ = error;
    tolerance_ = allowed;
  }

  golden const* golden_;
  bool single_;
  double single_result_ = 1e-5, single_gradient_ = 1e-4;
  std::set<std::string> seen_;
  std::string worst_;
  double error_ = 0, tolerance_ = 0;
};

}  // namespace goldens
