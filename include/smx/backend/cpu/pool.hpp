// SPDX-License-Identifier: Apache-2.0
/// \file  Thread pools. The pool is part of a backend's type, so no macro can make two translation units
/// disagree about what a
///        backend is. Work is shared out statically and contiguously: the same bits for any number of
///        threads.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <vector>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include <smx/core/check.hpp>

namespace smx {

/// run(f) calls f(thread) once on each of threads() threads and waits; an exception of the lowest-numbered
/// thread that threw is rethrown.
struct serial_pool {
  static constexpr int threads() { return 1; }
  template <class F> void run(F const& f) const { f(0); }
};

/// std::thread workers that live as long as the pool. Thread 0 is the caller. Who waits looks for about 50 us
/// before it sleeps: waking a thread takes as long, and a mixer's parallel sections follow one another
/// closely. Pools of more threads than the machine has sleep at once.
class thread_pool {
 public:
  /// `threads` = 0 takes one for each hardware thread.
  explicit thread_pool(int threads = 0) : shared_(std::make_unique<shared>()) {
    expects_value(threads >= 0, "thread_pool: threads", "0 (all) or a positive number", threads);
    int const count = threads > 0 ? threads : static_cast<int>(std::thread::hardware_concurrency());
    shared_->errors.resize(static_cast<std::size_t>(count < 1 ? 1 : count));
    if (static_cast<unsigned>(count) <= std::thread::hardware_concurrency()) shared_->looks = 2000;
#if defined(__cpp_exceptions)
    try {
      start();
    } catch (std::system_error const& e) {  // those that run must end before their handles do
      std::string const got = std::to_string(workers_.size() + 1);
      finish();
      throw backend_error("thread_pool: " + got + " of " + std::to_string(count) +
                          " threads started: " + e.what());
    }
#else
    start();
#endif
  }
  thread_pool(thread_pool&&) = default;
  thread_pool& operator=(thread_pool&&) = delete;
  ~thread_pool() { finish(); }

  int threads() const { return static_cast<int>(shared_->errors.size()); }

  template <class F> void run(F const& f) const {
    if (threads() == 1) return f(0);
    shared& s = *shared_;
    {
      std::lock_guard lock(s.mutex);
      s.call = [](void const* body, int thread) { (*static_cast<F const*>(body))(thread); };
      s.body = &f;
      s.pending = threads() - 1;
      ++s.generation;
    }
    s.wake.notify_all();
    s.attempt(0);
    auto const finished = [&] { return s.pending == 0; };
    s.look_for(finished);
    std::unique_lock lock(s.mutex);
    s.done.wait(lock, finished);
    s.rethrow();
  }

 private:
  struct shared {
    std::mutex mutex;
    std::condition_variable wake, done;
    void (*call)(void const*, int) = nullptr;
    void const* body = nullptr;
    std::atomic<unsigned> generation = 0;
    std::atomic<int> pending = 0;
    std::atomic<bool> stop = false;
    int looks = 0;
    std::vector<std::exception_ptr> errors;  // one a thread

    template <class F> void look_for(F const& there) const {
      for (int n = 0; n < looks && !there(); ++n) pause();
    }
    static void pause() {
#if defined(__x86_64__) || defined(__i386__)
      __builtin_ia32_pause();
#elif defined(__aarch64__)
      __asm__ volatile("isb");
#endif
    }

    void attempt(int thread) {
#if defined(__cpp_exceptions)
      try {
        call(body, thread);
      } catch (...) { errors[static_cast<std::size_t>(thread)] = std::current_exception(); }
#else
      call(body, thread);
#endif
    }
    void work(int thread) {
#if defined(_OPENMP)
      omp_set_num_threads(1);  // a std::thread under -fopenmp would give Eigen every core again
#endif
      for (unsigned seen = 0;;) {
        auto const called = [&] { return stop || generation != seen; };
        look_for(called);
        {
          std::unique_lock lock(mutex);
          wake.wait(lock, called);
          if (stop) return;
          seen = generation;
        }
        attempt(thread);
        std::lock_guard lock(mutex);
        if (--pending == 0) done.notify_one();
      }
    }
    void rethrow() {
      std::exception_ptr first;
      for (std::exception_ptr& e : errors) {
        if (first == nullptr) first = e;
        e = nullptr;
      }
      if (first != nullptr) std::rethrow_exception(first);
    }
  };

  void start() {
    for (int t = 1; t < threads(); ++t) workers_.emplace_back([s = shared_.get(), t] { s->work(t); });
  }
  void finish() {
    if (shared_ == nullptr) return;
    {
      std::lock_guard lock(shared_->mutex);
      shared_->stop = true;
    }
    shared_->wake.notify_all();
    for (std::thread& w : workers_) w.join();
  }

  std::unique_ptr<shared> shared_;  // workers hold its address: it stays when the pool moves
  std::vector<std::thread> workers_;
};

}  // namespace smx
