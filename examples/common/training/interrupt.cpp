// SPDX-License-Identifier: Apache-2.0
#include <examples/common/training/interrupt.hpp>

#include <atomic>

namespace smx_examples {

namespace {

// A signal handler has no other way to say something.
std::atomic<int> received = 0;
static_assert(std::atomic<int>::is_always_lock_free);

void note(int signal) { received = signal; }

void watch(int signal, struct ::sigaction& old) {
  ::sigaction(signal, nullptr, &old);
  if ((old.sa_flags & SA_SIGINFO) == 0 && old.sa_handler == SIG_IGN) return;
  struct ::sigaction how {};
  how.sa_handler = note;
  how.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);  // a save goes on; the second signal ends
  ::sigemptyset(&how.sa_mask);
  ::sigaction(signal, &how, nullptr);
}

}  // namespace

interrupt_watch::interrupt_watch() {
  received = 0;
  watch(SIGINT, interrupt_);
  watch(SIGTERM, terminate_);
}

interrupt_watch::~interrupt_watch() {
  ::sigaction(SIGINT, &interrupt_, nullptr);
  ::sigaction(SIGTERM, &terminate_, nullptr);
}

bool interrupt_watch::requested() const { return received != 0; }

char const* interrupt_watch::name() const {
  int const signal = received;
  return signal == SIGINT ? "SIGINT" : signal == SIGTERM ? "SIGTERM" : "";
}

}  // namespace smx_examples
