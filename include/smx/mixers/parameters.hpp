// SPDX-License-Identifier: Apache-2.0
/// \file  The weights of a mixer in one allocation, so that gradients, optimizer moments and files see one
/// span.
#pragma once

#include <utility>

#include <smx/mixers/concept.hpp>

namespace smx {

// Visitors that depend on no mixer: a walk over a part's weights compiles once for all that hold it.
namespace detail {
/// n entries, up to a multiple of 64 bytes.
template <class T> constexpr index_t rounded_weight(index_t n) {
  constexpr index_t grain = 64 / static_cast<index_t>(sizeof(T));
  return (n + grain - 1) / grain * grain;
}
template <class T> struct weight_total {
  index_t* total;
  template <class I, class V> void operator()(I const& info, V const&) const {
    *total += rounded_weight<T>(checked_size(info.ext, info.name));
  }
};
template <class T> struct weight_places {
  static constexpr bool nameless = true;
  T* memory;
  index_t* at;
  template <class I, class W, class R> void operator()(I const& info, W& to, R& read) const {
    to = W(advance(memory, *at), info.ext);
    read = to;
    *at += rounded_weight<T>(to.size());
  }
};
}  // namespace detail

/// Owns all weights of mixer `m` in the memory of a backend, zero when made. Each weight starts at a multiple
/// of 64 bytes; the gaps hold zeros. Converts to the views that forward (reads) and backward (writes) take.
template <class M, class S> class parameters_in {
 public:
  using scalar = typename M::scalar;
  using span = view<scalar, 1, S>;

  template <class B> parameters_in(B& be, M const& m) {
    index_t total = 0;
    m.for_each_weight(detail::weight_total<scalar>{&total}, writes_);
    if (total > 0) memory_ = tensor<scalar, 1, S>(be.memory(), extents<1>{total});
    index_t at = 0;
    m.for_each_weight(detail::weight_places<scalar>{memory_.data(), &at}, writes_, reads_);
  }

  typename M::template weights<writes_in<S>> const& write() { return writes_; }
  typename M::template weights<reads_in<S>> const& read() const { return reads_; }
  operator typename M::template weights<reads_in<S>> const&() const { return reads_; }

  /// Every weight, one after the other.
  span all() { return memory_.view(); }
  index_t size() const { return memory_.size(); }
  std::size_t bytes() const { return memory_.bytes(); }

 private:
  tensor<scalar, 1, S> memory_;
  typename M::template weights<writes_in<S>> writes_;
  typename M::template weights<reads_in<S>> reads_;
};

/// The parameters of mixer M in the space of backend B.
template <class M, class B> using parameters = parameters_in<M, space_t<B>>;

}  // namespace smx
