// SPDX-License-Identifier: Apache-2.0
/// \file  The weights of a mixer in one allocation, so that gradients, optimizer moments and files see one
/// span.
#pragma once

#include <utility>

#include <smx/mixers/concept.hpp>

namespace smx {

/// Owns all weights of mixer `m` in the memory of a backend, zero when made. Each weight starts at a multiple
/// of 64 bytes; the gaps hold zeros. Converts to the views that forward (reads) and backward (writes) take.
template <class M, class S> class parameters_in {
 public:
  using scalar = typename M::scalar;
  using span = view<scalar, 1, S>;

  template <class B> parameters_in(B& be, M const& m) {
    index_t total = 0;
    m.for_each_weight(
        [&](auto const& info, auto&...) { total += rounded(checked_size(info.ext, info.name)); }, writes_);
    if (total > 0) memory_ = tensor<scalar, 1, S>(be.memory(), extents<1>{total});
    index_t at = 0;
    m.for_each_weight(
        [&](auto const& info, auto& to, auto& read) {
          using target = std::remove_reference_t<decltype(to)>;
          to = target(detail::advance(memory_.data(), at), info.ext);
          read = to;
          at += rounded(to.size());
        },
        writes_, reads_);
  }

  typename M::template weights<writes_in<S>> const& write() { return writes_; }
  typename M::template weights<reads_in<S>> const& read() const { return reads_; }
  operator typename M::template weights<reads_in<S>> const&() const { return reads_; }

  /// Every weight, one after the other.
  span all() { return memory_.view(); }
  index_t size() const { return memory_.size(); }
  std::size_t bytes() const { return memory_.bytes(); }

 private:
  static index_t rounded(index_t n) {
    constexpr index_t grain = 64 / static_cast<index_t>(sizeof(scalar));
    return (n + grain - 1) / grain * grain;
  }
  tensor<scalar, 1, S> memory_;
  typename M::template weights<writes_in<S>> writes_;
  typename M::template weights<reads_in<S>> reads_;
};

/// The parameters of mixer M in the space of backend B.
template <class M, class B> using parameters = parameters_in<M, space_t<B>>;

}  // namespace smx
