// SPDX-License-Identifier: Apache-2.0
/// \file  A pool on OpenMP's own threads, for programs that already use them. Opt-in: include it and compile
/// with -fopenmp.
#pragma once

#if !defined(_OPENMP)
#error "smx/backend/cpu/openmp_pool.hpp: compile with -fopenmp, or use smx::thread_pool"
#endif

#include <omp.h>

#include <exception>
#include <vector>

#include <smx/core/check.hpp>

namespace smx {

/// As thread_pool; inside, Eigen sees one thread, because parallel regions do not nest.
class openmp_pool {
 public:
  /// `threads` = 0 takes omp_get_max_threads().
  explicit openmp_pool(int threads = 0) : threads_(threads > 0 ? threads : omp_get_max_threads()) {
    expects_value(threads >= 0, "openmp_pool: threads", "0 (all) or a positive number", threads);
  }
  int threads() const { return threads_; }

  template <class F> void run(F const& f) const {
    std::vector<std::exception_ptr> errors(static_cast<std::size_t>(threads_));
#pragma omp parallel for num_threads(threads_) schedule(static, 1)
    for (int t = 0; t < threads_; ++t) {
#if defined(__cpp_exceptions)
      try {
        f(t);
      } catch (...) { errors[static_cast<std::size_t>(t)] = std::current_exception(); }
#else
      f(t);
#endif
    }
    for (std::exception_ptr const& e : errors)
      if (e != nullptr) std::rethrow_exception(e);
  }

 private:
  int threads_;
};

}  // namespace smx
