// SPDX-License-Identifier: Apache-2.0
/// \file  Arrays with any strides for the tests of the primitives, and every backend that has to agree on
/// them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <smx/backend/cpu/backend.hpp>
#include <smx/backend/reference.hpp>
#include <smx/backend/traced.hpp>

#include "../catch.hpp"

namespace test {

using smx::extents;
using smx::host_space;
using smx::index_t;
using smx::view;

/// A small generator of its own, so that a test's data do not depend on the library.
class numbers {
 public:
  explicit numbers(std::uint64_t seed) : s_(seed * 0x9E3779B97F4A7C15u + 1) {}
  std::uint64_t bits() {
    s_ ^= s_ << 13, s_ ^= s_ >> 7, s_ ^= s_ << 17;
    return s_ * 0x2545F4914F6CDD1Du;
  }
  double unit() { return static_cast<double>(bits() >> 11) * 0x1p-53; }  // [0, 1)
  double real() { return 2 * unit() - 1; }
  index_t below(index_t n) { return static_cast<index_t>(bits() % static_cast<std::uint64_t>(n)); }

 private:
  std::uint64_t s_;
};

/// How the axes lie in memory.
enum class order { rows, padded, shuffled };

/// f(index) for every index, row-major.
template <int R, class F> void each(extents<R> const& e, F const& f) {
  index_t total = 1;
  for (int r = 0; r < R; ++r) total *= e[r];
  for (index_t n = 0; n < total; ++n) {
    extents<R> i = {};
    index_t rest = n;
    for (int r = R - 1; r >= 0; --r) i[r] = rest % e[r], rest /= e[r];
    f(static_cast<extents<R> const&>(i));
  }
}

template <class T, int R> T& entry(view<T, R, host_space> const& v, extents<R> const& i) {
  index_t at = 0;
  for (int r = 0; r < R; ++r) at += i[r] * v.str[r];
  return v.ptr[at];
}

/// An array among guard entries: rows (contiguous), padded (a gap after each row), shuffled (axes in any
/// order, gaps, some of them backwards).
template <class T, int R> class array {
 public:
  array(extents<R> const& ext, order how, std::uint64_t seed) : ext_(ext) {
    numbers random(seed);
    int axis[R];
    for (int r = 0; r < R; ++r) axis[r] = r;
    if (how == order::shuffled)
      for (int r = R - 1; r > 0; --r) std::swap(axis[r], axis[random.below(r + 1)]);
    index_t stride = 1, first = guard;
    for (int q = R - 1; q >= 0; --q) {
      int const r = axis[q];
      if (how == order::shuffled && q == R - 1) stride += random.below(2);
      str_[r] = stride;
      stride = stride * ext[r] + (how == order::rows     ? 0
                                  : how == order::padded ? (q == R - 1 ? 3 : 0)
                                                         : random.below(3));
      if (how == order::shuffled && random.below(3) == 0) {
        first += (ext[r] - 1) * str_[r];
        str_[r] = -str_[r];
      }
    }
    memory_.assign(static_cast<std::size_t>(stride + 2 * guard), sentinel());
    first_ = first;
    each(ext_,
         [&](extents<R> const& i) { entry(out(), i) = static_cast<T>(static_cast<float>(random.real())); });
  }
  /// A matrix product needs a contiguous last axis.
  array(extents<R> const& ext, std::uint64_t seed) : array(ext, order::padded, seed) {}

  view<T, R, host_space> out() { return {memory_.data() + first_, ext_, str_}; }
  view<T const, R, host_space> in() const { return {memory_.data() + first_, ext_, str_}; }
  extents<R> const& ext() const { return ext_; }
  void fill(T value) {
    each(ext_, [&](extents<R> const& i) { entry(out(), i) = value; });
  }
  T& operator()(extents<R> const& i) { return entry(out(), i); }

  /// The entries as doubles, row-major.
  std::vector<double> values() const {
    std::vector<double> v;
    each(ext_, [&](extents<R> const& i) { v.push_back(static_cast<double>(entry(in(), i))); });
    return v;
  }
  /// Every byte, guards included: two runs agree when these do.
  std::string bytes() const {
    return {reinterpret_cast<char const*>(memory_.data()), memory_.size() * sizeof(T)};
  }
  /// Nothing outside of the entries was written.
  bool intact() const {
    std::vector<char> inside(memory_.size(), 0);
    each(ext_, [&](extents<R> const& i) {
      inside[static_cast<std::size_t>(&entry(in(), i) - memory_.data())] = 1;
    });
    T const expected = sentinel();
    for (std::size_t n = 0; n < memory_.size(); ++n)
      if (inside[n] == 0 && std::memcmp(&memory_[n], &expected, sizeof(T)) != 0) return false;
    return true;
  }

 private:
  static constexpr index_t guard = 19;
  static T sentinel() { return static_cast<T>(-777.0f); }
  extents<R> ext_, str_ = {};
  index_t first_ = 0;
  std::vector<T> memory_;
};

/// Runs `run(backend)`, which returns what it computed as an array, on every backend; each result is verified
/// and no guard may have changed; all CPU backends give the same bits.
template <class Run, class Verify> void on_each_backend(Run const& run, Verify const& verify) {
  auto const check = [&](char const* name, auto const& result) {
    INFO("backend " << name);
    CHECK(result.intact());
    verify(result);
  };
  {
    smx::reference_backend be;
    check("reference", run(be));
  }
  smx::cpu_backend<smx::serial_pool> serial;
  auto const expected = run(serial);
  check("cpu, serial", expected);
  for (int const threads : {2, 3}) {
    smx::cpu be(threads);
    INFO("threads " << threads);
    CHECK(run(be).bytes() == expected.bytes());
  }
  smx::traced<smx::cpu> be(2);
  CHECK(run(be).bytes() == expected.bytes());
  CHECK_FALSE(be.events().empty());
}

template <class T> constexpr double eps = static_cast<double>(std::numeric_limits<T>::epsilon());

/// |got - exact| <= bound, entry by entry; a NaN agrees with a NaN, an infinity with the same infinity.
inline bool agree(std::vector<double> const& got, std::vector<double> const& exact,
                  std::vector<double> const& bound) {
  for (std::size_t n = 0; n < got.size(); ++n) {
    if (std::isnan(exact[n]) ? std::isnan(got[n]) : got[n] == exact[n]) continue;
    if (!(std::fabs(got[n] - exact[n]) <= bound[n])) {
      UNSCOPED_INFO("entry " << n << ": got " << got[n] << ", expected " << exact[n] << " +- " << bound[n]);
      return false;
    }
  }
  return got.size() == exact.size();
}

}  // namespace test
