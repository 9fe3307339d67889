// SPDX-License-Identifier: Apache-2.0
/// \file  Ctrl-C and SIGTERM as a question that a training loop asks between two steps.
#pragma once

#include <signal.h>

namespace smx_examples {

/// While it lives, the first SIGINT or SIGTERM only sets a flag; a second one of the same kind ends the
/// program at once, as it would have without this object. A signal that was ignored before (a job in the
/// background) stays ignored. The end of the object's life brings back what was. One lives at a time, or one
/// inside another.
class interrupt_watch {
 public:
  /// Clears the flag.
  interrupt_watch();
  ~interrupt_watch();
  interrupt_watch(interrupt_watch const&) = delete;
  interrupt_watch& operator=(interrupt_watch const&) = delete;

  bool requested() const;
  /// "SIGINT", "SIGTERM", or "" before either came.
  char const* name() const;

 private:
  struct ::sigaction interrupt_ {
  }, terminate_{};
};

}  // namespace smx_examples
