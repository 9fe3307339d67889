// SPDX-License-Identifier: Apache-2.0
/// \file  Learning rates as functions of the step: linear warm-up, then constant, linear or cosine decay.
///
///   warm-up  rate = peak (step + 1) / (warmup + 1), so that no step is spent at 0
///   after    u = (step - warmup) / (steps - warmup), from 0 to 1
///   linear   rate = peak (1 - (1 - f) u)
///   cosine   rate = peak (f + (1 - f) (1 + cos(pi u)) / 2)      (I. Loshchilov, F. Hutter, ICLR 2017)
///
/// with f the final fraction, which stays after the last step.
#pragma once

#include <algorithm>
#include <cmath>

#include <smx/core/check.hpp>

namespace smx {

enum class decay_law : char { constant, linear, cosine };

/// A pure function: a resumed run needs nothing but the step. Throws precondition_error for options or a step
/// that make no sense.
struct rate_schedule {
  double peak = 1e-3;
  index_t warmup = 0;  ///< steps before the peak
  index_t steps = 1;   ///< of the whole run, warm-up included; decay ends here
  decay_law law = decay_law::cosine;
  double final_fraction = 0;  ///< f, in [0, 1]
  friend bool operator==(rate_schedule const&, rate_schedule const&) = default;

  /// The rate of step 0, 1, ...
  double at(index_t step) const {
    expects(peak >= 0, "rate_schedule: peak: expected a number that is not negative");
    expects_value(steps >= 1, "rate_schedule: steps", "at least 1", steps);
    expects_value(warmup >= 0 && warmup <= steps, "rate_schedule: warmup", "0 to the number of steps",
                  warmup);
    expects(final_fraction >= 0 && final_fraction <= 1,
            "rate_schedule: final_fraction: expected a number from 0 to 1");
    expects_value(step >= 0, "rate_schedule: step", "a number that is not negative", step);
    if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup + 1);
    double const u =
        steps == warmup
            ? 1.0
            : std::min(1.0, static_cast<double>(step - warmup) / static_cast<double>(steps - warmup));
    switch (law) {
      case decay_law::linear:
        return peak * (1 - (1 - final_fraction) * u);
      case decay_law::cosine:
        return peak *
               (final_fraction + (1 - final_fraction) * (1 + std::cos(3.14159265358979323846 * u)) / 2);
      case decay_law::constant:
        break;
    }
    return peak;
  }
};

}  // namespace smx
