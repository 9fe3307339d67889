// SPDX-License-Identifier: Apache-2.0
/// \file  From dt to the step size and the log-decay of SSD, and back: delta = clamp(softplus(dt + bias),
/// min,
///        max), log-decay = -exp(a_log) delta.
#pragma once

#include <cmath>

#include <smx/backend/shapes.hpp>
#include <smx/mixers/scan_state.hpp>

namespace smx::detail {

/// log(1 + exp(x)), and x itself above 20: Mamba's definition, for checkpoints of it to the last digit.
struct softplus_to_20 {
  template <class T> SMX_HD static T value(T x) {
    return x > T(20) ? x : x > T(0) ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
  }
  template <class T> SMX_HD static T slope(T x) { return x > T(20) ? T(1) : sigmoid{}(x); }
};

template <class T> struct ssd_step_size {
  bool softplus;
  T min, max;

  SMX_HD T before_limits(T x) const { return softplus ? softplus_to_20::value(x) : x; }
  /// delta from dt + bias; NaN stays NaN.
  SMX_HD T operator()(T x) const {
    T const d = before_limits(x);
    return d < min ? min : d > max ? max : d;
  }
  SMX_HD T operator()(T dt, T bias) const { return (*this)(dt + bias); }
  /// d delta / d dt: 0 outside the limits.
  SMX_HD T slope(T x) const {
    T const d = before_limits(x);
    return d < min || d > max ? T(0) : softplus ? softplus_to_20::slope(x) : T(1);
  }

  struct decay {
    SMX_HD T operator()(T delta, T a_log) const { return usable_log_decay(-std::exp(a_log) * delta); }
  };
  /// delta A as it is: no exponent.
  struct product {
    SMX_HD T operator()(T delta, T a_log) const { return -std::exp(a_log) * delta; }
  };
  /// The gradient of dt from those of delta and of the log-decay.
  struct gradient {
    ssd_step_size of;
    SMX_HD T operator()(T dt, T a_log, T ddelta, T dlog) const {
      return of.slope(dt) * (ddelta - std::exp(a_log) * dlog);
    }
    SMX_HD T operator()(T dt, T a_log, T ddelta, T dlog, T bias) const {
      return (*this)(dt + bias, a_log, ddelta, dlog);
    }
  };

  /// delta, log_decay (B,H,L,1) =; Product: decay or product.
  template <class Product = decay, class B>
  void forward(B& be, in<B, T, 4> dt, in<B, T, 1> a_log, in<B, T, 1> bias, out<B, T, 4> delta,
               out<B, T, 4> log_decay) const {
    if (bias.size() != 0)
      be.map(*this, delta, dt, by_head(bias, dt.ext));
    else
      be.map(*this, delta, dt);
    be.map(Product{}, log_decay, as_input(delta), by_head(a_log, dt.ext));
  }

  /// ddt =, da_log and dbias +=; ddelta and dlog are overwritten.
  template <class B>
  void backward(B& be, in<B, T, 4> log_decay, in<B, T, 4> dt, in<B, T, 1> a_log, in<B, T, 1> bias,
                out<B, T, 4> ddelta, out<B, T, 4> dlog, out<B, T, 4> ddt, out<B, T, 1> da_log,
                out<B, T, 1> dbias) const {
    auto const decays = by_head(a_log, dt.ext);
    if (bias.size() != 0) {
      be.map(gradient{*this}, ddt, dt, decays, as_input(ddelta), as_input(dlog), by_head(bias, dt.ext));
      add_row_sums<B, T>(be, as_input(ddt), dbias);
    } else {
      be.map(gradient{*this}, ddt, dt, decays, as_input(ddelta), as_input(dlog));
    }
    be.map(multiply{}, dlog, log_decay, as_input(dlog));  // d log-decay / d a_log is the log-decay
    add_row_sums<B, T>(be, as_input(dlog), da_log);
  }
};

}  // namespace smx::detail
