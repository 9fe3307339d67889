// SPDX-License-Identifier: Apache-2.0
/// \file  Matrices of a layer as a backend wants them for many products, made once from weights that then
/// stay.
#pragma once

#include <smx/backend/tuned.hpp>
#include <smx/mixers/concept.hpp>

namespace smx {

/// Matrices (G,N,K); empty where the backend has no way of its own, and then gemm runs on the weights.
template <class A, class T> struct prepared_matrices {
  array<A, T, 1> storage;
  extents<3> ext = {};

  std::size_t bytes() const { return storage.bytes(); }
};

template <class B, class T>
prepared_matrices<owns<B>, T> prepare_matrices(B& be, view<T const, 3, space_t<B>> w) {
  index_t size = 0;
  if (!tuned(be, product_storage_call<T>{w.ext, &size})) return {};
  prepared_matrices<owns<B>, T> p{tensor<T, 1, space_t<B>>(be.memory(), extents<1>{size}), w.ext};
  tuned(be, product_prepare_call<T, space_t<B>>{w, p.storage.view()});
  return p;
}

/// y = x W^T + bias, as product_forward_call says it; false where `p` is empty. Throws precondition_error
/// where it was prepared from matrices of other extents.
template <class B, class T>
bool multiply_prepared(B& be, char const* name, prepared_matrices<owns<B>, T> const& p, extents<3> const& ext,
                       in<B, T, 2> bias, in<B, T, 4> x, out<B, T, 4> y) {
  if (p.storage.size() == 0) return false;
  expects_extents(name, p.ext, ext);
  return tuned(be, product_forward_call<T, space_t<B>>{ext, p.storage.cview(), bias, x, y});
}

}  // namespace smx
