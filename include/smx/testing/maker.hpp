// SPDX-License-Identifier: Apache-2.0
/// \file  A line of a list of backends: its name, how to make a fresh one, and what is not asked of it.
#pragma once

#include <concepts>

#include <smx/testing/runner.hpp>

namespace smx::testing {

/// What is not asked of a backend.
struct backend_traits {
  bool may_allocate = false;        ///< what it keeps for itself (a trace) allocates
  bool shape_changes_bits = false;  ///< the order of a sum may depend on how many other sums there are
  bool like_another = false;        ///< another line runs the same code: laws of many runs are left to that
};

/// A line of a list of backends: its name and how to make a fresh one.
///
/// make()           a fresh backend
/// make(workspace)  one that works in a caller's block, where it can
/// make(threads)    one with that many threads, where it has some
template <class Make> struct backend {
  char const* name;
  Make make;
  backend_traits is = {};
};
template <class Make> backend(char const*, Make, backend_traits = {}) -> backend<Make>;

/// A line of the list for mixers of type M. Refers to the line.
template <class M> class maker {
 public:
  template <class Make>
  explicit maker(backend<Make> const& line)
      : name_(line.name),
        is_(line.is),
        make_(&line.make),
        fresh_([](void const* make) { return runner<M>::on(*static_cast<Make const*>(make)); }) {
    if constexpr (std::invocable<Make const&, workspace<host_space>>)
      inside_ = [](void const* make, void* block, std::size_t bytes) {
        return runner<M>::on(*static_cast<Make const*>(make), workspace<host_space>(block, bytes));
      };
    if constexpr (std::invocable<Make const&, int>)
      threaded_ = [](void const* make, int threads) {
        return runner<M>::on(*static_cast<Make const*>(make), threads);
      };
  }

  char const* name() const { return name_; }
  bool may_allocate() const { return is_.may_allocate; }
  bool shape_changes_bits() const { return is_.shape_changes_bits; }
  bool like_another() const { return is_.like_another; }
  runner<M> operator()() const { return fresh_(make_); }
  bool takes_workspace() const { return inside_ != nullptr; }
  runner<M> inside(void* block, std::size_t bytes) const { return inside_(make_, block, bytes); }
  bool takes_threads() const { return threaded_ != nullptr; }
  runner<M> with_threads(int n) const { return threaded_(make_, n); }

 private:
  char const* name_;
  backend_traits is_;
  void const* make_;
  runner<M> (*fresh_)(void const*);
  runner<M> (*inside_)(void const*, void*, std::size_t) = nullptr;
  runner<M> (*threaded_)(void const*, int) = nullptr;
};

}  // namespace smx::testing
