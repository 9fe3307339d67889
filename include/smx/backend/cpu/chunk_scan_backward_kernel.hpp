// SPDX-License-Identifier: Apache-2.0
/// \file  Backward pass of the chunked scan (structured/chunk_scan.hpp) for one head and one chunk, from the
///        state before it and the gradient g of the state after it:
///
/// dv_in = Gamma^T dy + E (k g), dGamma = dy (w v)^T, dq = scale F (dy S^T) + (dGamma o decays) k, dk = E (w
/// v g^T) + (dGamma o decays)^T q, and g becomes exp(c_end) g + (scale F q)^T dy. The two triangles of the
/// heads of a group are added up before they meet k and q. Gradients of log-decays are sums of rectangles of
/// dGamma o Gamma: no differences, nothing cancels. Work: 2.5 times the forward pass, a recomputed state
/// included.
#pragma once

#include <algorithm>
#include <cmath>

#include <smx/backend/cpu/block_product.hpp>
#include <smx/backend/cpu/chunk_scan_kernel.hpp>
#include <smx/backend/cpu/tile.hpp>
#include <smx/backend/cpu/transpose.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// Where the gradients of one chunk of one head go; rows as in scan_chunk.
template <class T> struct scan_chunk_gradients {
  strided_rows<T const> dy;
  strided_rows<T> dq, dk, dv;       // dq, dk: added to, or written if `first`
  strided_rows<T> dweight, ddecay;  // one number a row, or null
  T* dskip;                         // (p), added to, or null
  T* triangle;                      // dGamma o decays, added to: (rows,ld)
  bool first;                       // of the heads of the group
};

/// Scratch of one chunk backward, beside scan_scratch.
template <class T> struct scan_backward_scratch {
  T* turned;                  // (w v)^T, then g^T or S^T: (max(P, ...), whole lanes of Q or N)
  T* dgamma;                  // (Q,ldq)
  T* to_end;                  // E (k g): (Q,ldp)
  T* dv_in;                   // (Q,ldp)
  T* keys;                    // one of dq's and dk's parts: (Q,ldn)
  T* weighted;                // scale F dy: (Q,ldp)
  T *sum, *before, *columns;  // by row: (ldq)
  index_t ldp, ldq, ldn;

  static constexpr index_t size(index_t chunk, index_t n, index_t p) {
    index_t const q = whole_lanes<T>(chunk), np = whole_lanes<T>(n), pp = whole_lanes<T>(p);
    return p * std::max(q, np) + chunk * (q + np + 3 * pp) + 3 * q;
  }
  scan_backward_scratch(T* z, index_t chunk, index_t n, index_t p)
      : ldp(whole_lanes<T>(p)), ldq(whole_lanes<T>(chunk)), ldn(whole_lanes<T>(n)) {
    turned = z;
    dgamma = turned + p * std::max(ldq, ldn);
    to_end = dgamma + chunk * ldq;
    dv_in = to_end + chunk * ldp;
    weighted = dv_in + chunk * ldp;
    keys = weighted + chunk * ldp;
    sum = keys + chunk * ldn;
    before = sum + ldq;
    columns = before + ldq;
  }
};

namespace detail {

template <class T> SMX_INLINE T sum_of_lanes(vec<T> v) {
  T sum = v[0];
  for (int i = 1; i < lanes<T>; ++i) sum += v[i];
  return sum;
}
/// sum of x y over n entries, any alignment.
template <class T> SMX_INLINE T dot(index_t n, T const* x, T const* y) {
  vec<T> s{};
  index_t i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) s += load(x + i) * load(y + i);
  if (i < n) {
    part<T> const last(n - i);
    s += load(x + i, last) * load(y + i, last);
  }
  return sum_of_lanes<T>(s);
}

/// dGamma (rows,rows), on and below the diagonal.
template <class T>
void triangle_gradient(scan_chunk<T> const& c, strided_rows<T const> dy, scan_scratch<T> const& z,
                       scan_backward_scratch<T> const& w) {
  transpose(c.rows, c.p, z.v_in, z.ldp, w.turned, w.ldq);
  T const* const b = w.turned;
  T* const to = w.dgamma;
  index_t const ld = w.ldq, p = c.p;
  cover<T>(0, c.rows, c.rows, [=](auto& t, index_t i, index_t j) {
    if (j >= i + t.height) return;
    t.zero();
    t.template mac<layout::rows>(p, dy.row(i), dy.stride, b + j, ld);
    t.store(to + i * ld + j, ld);
  });
}

/// triangle += dGamma o decays; columns_k = sum over l >= k > s of (dGamma o Gamma)_ls.
template <class T>
[[gnu::noinline]] void triangle_sums(scan_chunk<T> const& c, scan_scratch<T> const& z,
                                     scan_backward_scratch<T> const& w, T* triangle) {
  bool const decays = c.decay.first != nullptr;
  std::fill_n(w.sum, w.ldq, T(0));
  for (index_t i = c.rows - 1; i >= 0; --i) {
    vec<T> left{};
    for (index_t j = 0; j <= i; j += lanes<T>) {
      vec<T> const g = below<T>(load(w.dgamma + i * w.ldq + j), j, i + 1);
      T* const to = triangle + i * c.ld + j;
      if (!decays) {
        store(to, load(to) + g);
        continue;
      }
      // select again: above the diagonal decays may be NaN
      store(to, load(to) + below<T>(g * load(z.decays + i * z.ldq + j), j, i + 1));
      vec<T> const s = load(w.sum + j) + below<T>(g * load(z.gamma + i * z.ldq + j), j, i);
      store(w.sum + j, s);
      left += below<T>(s, j, i);
    }
    w.columns[i] = sum_of_lanes<T>(left);
  }
}

/// dv_in, and E (k g) by itself.
template <class T>
void values_gradient(scan_chunk<T> const& c, strided_rows<T const> dy, T const* g, scan_scratch<T> const& z,
                     scan_backward_scratch<T> const& w) {
  bool const decays = c.decay.first != nullptr;
  T const *const gamma = decays ? z.gamma : c.products, *const end = z.end;
  index_t const ld = decays ? z.ldq : c.ld, p = c.p;
  T *const alone = w.to_end, *const both = w.dv_in;
  cover<T>(0, c.rows, p, [&, gamma, end, ld, p, alone, both](auto& t, index_t i, index_t j) {
    t.zero();
    t.template mac<layout::rows>(c.n, c.k.row(i), c.k.stride, g + j, p);
    if (decays) {
      t.scale_rows(end + i);
      t.store(alone + i * w.ldp + j, w.ldp);
    }
    t.template mac<layout::cols>(c.rows - i, gamma + i * ld + i, ld, dy.row(i) + j, dy.stride);
    t.store(both + i * w.ldp + j, w.ldp);
  });
}

/// to = or += diag(by row) rows (q,p) m^T, m (n,p); Keep: the part itself stays in w.keys.
template <bool Keep, class T>
void keys_gradient(scan_chunk<T> const& c, strided_rows<T const> rows, T const* m, T const* by_row, T scale,
                   strided_rows<T> to, bool first, scan_backward_scratch<T> const& w) {
  transpose(c.n, c.p, m, c.p, w.turned, w.ldn);
  T const* const b = w.turned;
  T* const keep = w.keys;
  index_t const ld = w.ldn, p = c.p;
  cover<T>(0, c.rows, c.n, [=](auto& t, index_t i, index_t j) {
    t.zero();
    t.template mac<layout::rows>(p, rows.row(i), rows.stride, b + j, ld);
    if (by_row != nullptr)
      t.scale_rows(by_row + i);
    else
      t.scale(scale);
    if constexpr (Keep) t.store(keep + i * ld + j, ld);
    if (first)
      t.store(to.row(i) + j, to.stride);
    else
      t.add_to(to.row(i) + j, to.stride);
  });
}

/// to = a x + b y, and sum += y v.
template <class T>
SMX_INLINE void value_row(index_t p, T a, T const* x, T const* b, T const* y, T const* v, T* to, T* sum) {
  auto const run = [&](index_t j, auto const&... last) {
    vec<T> const up = load(y + j, last...);
    store(to + j, load(x + j, last...) * a + load(b + j, last...) * up, last...);
    store(sum + j, load(sum + j, last...) + up * load(v + j, last...), last...);
  };
  index_t j = 0;
  for (; j + lanes<T> <= p; j += lanes<T>) run(j);
  if (j < p) run(j, part<T>(p - j));
}

/// dweight, dv, dskip, row by row, and sum_l = <w v, E k g>_l.
template <class T>
[[gnu::noinline]] void finish_values(scan_chunk<T> const& c, scan_chunk_gradients<T> const& d,
                                     scan_scratch<T> const& z, scan_backward_scratch<T> const& w) {
  for (index_t i = 0; i < c.rows; ++i) {
    T const *const din = w.dv_in + i * w.ldp, *const v = c.v.row(i);
    T const weight = c.weight.first == nullptr ? T(1) : *c.weight.row(i);
    if (c.decay.first != nullptr) w.sum[i] = dot<T>(c.p, z.v_in + i * z.ldp, w.to_end + i * w.ldp);
    if (d.dweight.first != nullptr) *d.dweight.row(i) = dot<T>(c.p, din, v);
    if (c.skip == nullptr)
      scaled_row<T>(c.p, weight, din, d.dv.row(i));
    else
      value_row<T>(c.p, weight, din, c.skip, d.dy.row(i), v, d.dv.row(i), d.dskip);
  }
}

}  // namespace detail

/// The gradients of the chunk; s (n,p) is the state before it, g (n,p) the gradient of the state after it,
/// which becomes that of the state before; both contiguous. z: prepared.
template <class T>
void scan_backward(scan_chunk<T> const& c, scan_chunk_gradients<T> const& d, scan_scratch<T> const& z,
                   scan_backward_scratch<T> const& w, T const* s, T* g) {
  bool const decays = c.decay.first != nullptr;
  if (decays) detail::decay_triangle<true>(c, z);
  detail::triangle_gradient(c, d.dy, z, w);
  detail::triangle_sums(c, z, w, d.triangle);
  detail::values_gradient(c, d.dy, g, z, w);
  strided_rows<T const> const in{z.v_in, z.ldp};
  detail::keys_gradient<false, T>(c, in, g, decays ? z.end : nullptr, T(1), d.dk, d.first, w);
  detail::keys_gradient<true, T>(c, d.dy, s, decays ? z.start : nullptr, c.scale, d.dq, d.first, w);
  detail::finish_values(c, d, z, w);
  if (decays) {
    // of the log-decay at k: the rectangles, every earlier row through the end, every later one from the
    // start
    T const carry = z.whole * detail::dot<T>(c.n * c.p, s, g);
    for (index_t i = 0; i < c.rows; ++i) w.before[i] = detail::dot<T>(c.n, w.keys + i * w.ldn, c.q.row(i));
    T later = carry;
    for (index_t i = c.rows - 1; i >= 0; --i) {
      later += w.before[i];
      w.columns[i] += later;
    }
    T earlier = 0;
    for (index_t i = 0; i < c.rows; ++i) {
      *d.ddecay.row(i) = w.columns[i] + earlier;
      earlier += w.sum[i];
    }
  }
  // q carries no scale: dy does
  for (index_t i = 0; i < c.rows; ++i)
    detail::scaled_row<T>(c.p, decays ? z.start[i] : c.scale, d.dy.row(i), w.weighted + i * w.ldp);
  T const *const q = c.q.first, *const dy = w.weighted, whole = z.whole;
  index_t const ldq = c.q.stride, ldp = w.ldp, rows = c.rows, p = c.p;
  cover<T>(0, c.n, p, [=](auto& t, index_t i, index_t j) {
    t.load(g + i * p + j, p);
    if (decays) t.scale(whole);
    t.template mac<layout::cols>(rows, q + i, ldq, dy + j, ldp);
    t.store(g + i * p + j, p);
  });
}

/// dq += scale triangle k, dk += scale triangle^T q, for the sum of the triangles of the heads of a group.
template <class T>
void scan_triangle_backward(scan_chunk<T> const& c, T const* triangle, strided_rows<T> dq,
                            strided_rows<T> dk) {
  index_t const ld = c.ld;
  cover<T>(0, c.rows, c.n, [&](auto& t, index_t i, index_t j) {
    t.zero();
    t.template mac<layout::rows>(i + t.height, triangle + i * ld, ld, c.k.first + j, c.k.stride);
    t.scale(c.scale);
    t.add_to(dq.row(i) + j, dq.stride);
  });
  cover<T>(0, c.rows, c.n, [&](auto& t, index_t i, index_t j) {
    t.zero();
    t.template mac<layout::cols>(c.rows - i, triangle + i * ld + i, ld, c.q.row(i) + j, c.q.stride);
    t.scale(c.scale);
    t.add_to(dk.row(i) + j, dk.stride);
  });
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
