// SPDX-License-Identifier: Apache-2.0
/// \file  The numbers that ssd and nc_ssd are given, looked at on the host: forward itself does not, because
///        they may lie on a device.
#pragma once

#include <cmath>
#include <cstdio>
#include <limits>

#include <smx/core/check.hpp>
#include <smx/core/dtype.hpp>
#include <smx/core/view.hpp>

namespace smx {

namespace detail {
[[noreturn, gnu::cold, gnu::noinline]] inline void refuse_number(char const* argument, index_t at,
                                                                 char const* expected, double got,
                                                                 location where = location::here()) {
  char text[200];
  std::snprintf(text, sizeof text, "%s: entry %lld: expected %s, got %g", argument,
                static_cast<long long>(at), expected, got);
  fail(text, where);
}
}  // namespace detail

/// The weight a_log = log(-A) for the A (H) of a checkpoint that stores A itself. Throws precondition_error
/// where A is not negative and finite.
template <Compute T> void ssd_a_log(view<T const, 1, host_space> a, view<T, 1, host_space> a_log) {
  expects_extents("ssd_a_log: a_log", a_log.ext, a.ext);
  for (index_t h = 0; h < a.ext[0]; ++h)
    if (!(a(h) < T(0)) || !std::isfinite(a(h)))
      detail::refuse_number("ssd_a_log: A", h, "a negative number", static_cast<double>(a(h)));
  for (index_t h = 0; h < a.ext[0]; ++h) a_log(h) = std::log(-a(h));
}

/// Throws precondition_error that names the argument and the first entry at fault: dt and dt_bias must be
/// finite, exp(a_log) a finite positive number, and dt without softplus within the limits that would change
/// it. m: ssd or nc_ssd; w, x: its weights and inputs.
template <class M, class W, class X> void check_ssd_values(M const& m, W const& w, X const& x) {
  for (index_t h = 0; h < w.a_log.ext[0]; ++h) {
    auto const a = std::exp(w.a_log(h));
    if (!(a > 0) || !std::isfinite(a))
      detail::refuse_number("ssd: a_log", h, "exp(a_log) to be finite and positive",
                            static_cast<double>(w.a_log(h)));
  }
  for (index_t h = 0; h < w.dt_bias.ext[0]; ++h)
    if (!std::isfinite(w.dt_bias(h)))
      detail::refuse_number("ssd: dt_bias", h, "a finite number", static_cast<double>(w.dt_bias(h)));
  index_t at = 0;
  for (index_t b = 0; b < x.dt.ext[0]; ++b)
    for (index_t h = 0; h < x.dt.ext[1]; ++h)
      for (index_t t = 0; t < x.dt.ext[2]; ++t, ++at) {
        auto const dt = x.dt(b, h, t, 0);
        if (!std::isfinite(dt))
          detail::refuse_number("ssd: dt", at, "a finite number", static_cast<double>(dt));
        auto const step = m.dt_bias ? dt + w.dt_bias(h) : dt;
        if (!m.softplus && (step < m.dt_min || step > m.dt_max))
          detail::refuse_number("ssd: dt", at, "a step size from dt_min to dt_max",
                                static_cast<double>(step));
      }
}

}  // namespace smx
