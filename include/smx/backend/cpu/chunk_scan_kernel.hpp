// SPDX-License-Identifier: Apache-2.0
/// \file  Forward pass of the chunked scan (structured/chunk_scan.hpp) for one head and one chunk of at most
/// Q
///        rows: y = diag(scale F) q S + Gamma (w v) + skip v, then S = exp(c_end) S + k^T (E w v).
///
/// y is one register tile from three sums, written once. The state is N x P, so that every product has its
/// right factor by rows. Sums of log-decays are formed in double and kept as two numbers of T, high and low:
/// differences inside a chunk keep their digits at any decay. Work: q (2 N P + q P / 2 + 2 N P)
/// multiply-adds, exps q (q / 2 + 2). Scratch does not depend on L.
///
/// A row depends on earlier rows by the same operations whatever the number of rows of the chunk: prefixes
/// have the same bits. Entries above the diagonal are selected away, never multiplied.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include <smx/backend/cpu/exp.hpp>
#include <smx/backend/cpu/simd.hpp>
#include <smx/backend/cpu/tile.hpp>
#include <smx/backend/cpu/transpose.hpp>
#include <smx/core/config.hpp>
#include <smx/core/extents.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// n rounded up to whole vectors.
template <class T> constexpr index_t whole_lanes(index_t n) {
  return (n + lanes<T> - 1) / lanes<T> * lanes<T>;
}

/// Rows `stride` apart, contiguous along the row (or, for columns, one number each).
template <class T> struct strided_rows {
  T* first;
  index_t stride;
  T* row(index_t i) const { return first == nullptr ? nullptr : first + i * stride; }
  strided_rows from(index_t i) const { return {row(i), stride}; }
};

/// One head of one sequence; q, k, v, y from the chunk's first row on.
template <class T> struct scan_chunk {
  index_t rows, n, p;                   // of the chunk, of the state
  strided_rows<T const> q, k, v;        // (rows,n), (rows,n), (rows,p)
  strided_rows<T const> weight, decay;  // one number a row, or null
  T const* skip;                        // (p), or null
  T const* products;                    // scale q k^T: (rows,ld), 0 above the diagonal
  index_t ld;
  T scale;
  T const* next = nullptr;  // row 0 of the values that are read next, for the prefetcher; rows as those of v
};

/// Scratch of one chunk.
template <class T> struct scan_scratch {
  T* v_in;                      // w v: (Q,ldp)
  T* v_end;                     // E w v: (Q,ldp)
  T* decays;                    // exp(c_l - c_s): (Q,ldq)
  T* gamma;                     // products o decays: (Q,ldq), 0 above the diagonal
  T *high, *low, *start, *end;  // sums of log-decays in two parts, scale F, E: (ldq)
  index_t ldp, ldq;
  T whole = 1;  // exp(c_end)

  static constexpr index_t size(index_t chunk, index_t p) {
    return 2 * chunk * whole_lanes<T>(p) + (2 * chunk + 4) * whole_lanes<T>(chunk);
  }
  scan_scratch(T* z, index_t chunk, index_t p) : ldp(whole_lanes<T>(p)), ldq(whole_lanes<T>(chunk)) {
    v_in = z;
    v_end = v_in + chunk * ldp;
    decays = v_end + chunk * ldp;
    gamma = decays + chunk * ldq;
    high = gamma + chunk * ldq;
    low = high + ldq;
    start = low + ldq;
    end = start + ldq;
  }
};

/// scale q k^T of one chunk on and below the diagonal, 0 above it: (rows,ld). scratch: n ld elements.
template <class T>
void scan_products(index_t rows, index_t n, T scale, strided_rows<T const> q, strided_rows<T const> k, T* to,
                   index_t ld, T* scratch) {
  transpose(rows, n, k.first, k.stride, scratch, ld);
  cover<T>(0, rows, rows, [=](auto& t, index_t i, index_t j) {
    if (j >= i + t.height) return;
    t.zero();
    t.template mac<layout::rows>(n, q.row(i), q.stride, scratch + j, ld);
    t.scale(scale);
    t.store(to + i * ld + j, ld);
  });
  for (index_t i = 0; i < rows; ++i) std::fill(to + i * ld + i + 1, to + (i + 1) * ld, T(0));
}

namespace detail {

/// Lanes 0, 1, 2, ...
template <class T> SMX_INLINE ivec<T> scan_lanes() {
  ivec<T> v{};
  for (int i = 0; i < lanes<T>; ++i) v[i] = i;
  return v;
}
/// v where lane + first < bound, else 0.
template <class T> SMX_INLINE vec<T> below(vec<T> v, index_t first, index_t bound) {
  using integer = std::remove_cvref_t<decltype(ivec<T>{}[0])>;
  ivec<T> const last = ivec<T>{} + static_cast<integer>(bound - first);
  return scan_lanes<T>() < last ? v : vec<T>{};
}
template <class T> SMX_INLINE vec<T> exp_nonpositive(vec<T> v) { return exp(vmin(vec<T>{}, v)); }

/// Row by row factor v, vector by vector.
template <class T> SMX_INLINE void scaled_row(index_t p, T factor, T const* from, T* to) {
  index_t j = 0;
  for (; j + lanes<T> <= p; j += lanes<T>) store(to + j, load(from + j) * factor);
  if (j < p) {
    part<T> const last(p - j);
    store(to + j, load(from + j, last) * factor, last);
  }
}

/// The factors of the chunk, w v if `In` and E w v if `End`; without decays w v alone.
template <bool In, bool End, class T>
[[gnu::noinline]] void prepare_chunk(scan_chunk<T> const& c, scan_scratch<T>& z) {
  bool const decays = c.decay.first != nullptr;
  if (decays) {
    double sum = 0;
    for (index_t i = 0; i < c.rows; ++i) {
      sum += static_cast<double>(*c.decay.row(i));
      z.high[i] = static_cast<T>(sum);
      z.low[i] = static_cast<T>(sum - static_cast<double>(z.high[i]));
    }
    T const high = z.high[c.rows - 1], low = z.low[c.rows - 1];
    for (index_t i = c.rows; i < z.ldq; ++i) z.high[i] = high, z.low[i] = low;
    for (index_t i = 0; i < z.ldq; i += lanes<T>) {
      vec<T> const h = load(z.high + i), l = load(z.low + i);
      store(z.start + i, exp_nonpositive<T>(h + l) * c.scale);
      store(z.end + i, exp_nonpositive<T>((high - h) + (low - l)));
    }
    z.whole = exp_nonpositive<T>(splat(high + low))[0];
  }
  for (index_t i = 0; i < c.rows; ++i) {
    T const* const from = c.v.row(i);
    T const weight = c.weight.first == nullptr ? T(1) : *c.weight.row(i);
    if (c.next != nullptr)
      for (index_t j = 0; j < c.p; j += 64 / static_cast<index_t>(sizeof(T)))
        __builtin_prefetch(c.next + i * c.v.stride + j);
    if (In || !decays) scaled_row<T>(c.p, weight, from, z.v_in + i * z.ldp);
    if (End && decays) scaled_row<T>(c.p, weight * z.end[i], from, z.v_end + i * z.ldp);
  }
}

/// gamma, and the decays themselves when backward asks for them.
template <bool KeepDecays, class T>
[[gnu::noinline]] void decay_triangle(scan_chunk<T> const& c, scan_scratch<T> const& z) {
  for (index_t i = 0; i < c.rows; ++i) {
    vec<T> const h = splat(z.high[i]), l = splat(z.low[i]);
    for (index_t j = 0; j < z.ldq; j += lanes<T>) {
      vec<T> g{};
      if (j <= i) {
        vec<T> const d = exp_nonpositive<T>((h - load(z.high + j)) + (l - load(z.low + j)));
        g = below<T>(d * load(c.products + i * c.ld + j), j, i + 1);
        if constexpr (KeepDecays) store(z.decays + i * z.ldq + j, d);
      }
      store(z.gamma + i * z.ldq + j, g);
    }
  }
}

}  // namespace detail

/// to = exp(c_end) from + k^T (E w v), both (n,p); they may be the same.
template <class T>
void scan_advance(scan_chunk<T> const& c, scan_scratch<T> const& z, T const* from, index_t ld_from, T* to,
                  index_t ld_to) {
  bool const decays = c.decay.first != nullptr;
  T const *const k = c.k.first, *const in = decays ? z.v_end : z.v_in, whole = z.whole;
  index_t const ldk = c.k.stride, ldp = z.ldp, rows = c.rows;
  cover<T>(0, c.n, c.p, [=](auto& t, index_t i, index_t j) {
    t.load(from + i * ld_from + j, ld_from);
    if (decays) t.scale(whole);
    t.template mac<layout::cols>(rows, k + i, ldk, in + j, ldp);
    t.store(to + i * ld_to + j, ld_to);
  });
}

/// y of the chunk; s is the state before it. z: prepared.
template <bool Past, class T>
void scan_output(scan_chunk<T> const& c, scan_scratch<T> const& z, T const* s, index_t lds,
                 strided_rows<T> y) {
  bool const decays = c.decay.first != nullptr;
  if (decays) detail::decay_triangle<false>(c, z);
  T const *const g = decays ? z.gamma : c.products, *const in = z.v_in, *const start = z.start;
  index_t const ldg = decays ? z.ldq : c.ld, ldp = z.ldp;
  cover<T>(0, c.rows, c.p, [&, g, in, start, s, lds, ldg, ldp](auto& t, index_t i, index_t j) {
    t.zero();
    t.template mac<layout::rows>(c.n, c.q.row(i), c.q.stride, s + j, lds);
    if (decays)
      t.scale_rows(start + i);
    else
      t.scale(c.scale);
    t.template mac<layout::rows>(i, g + i * ldg, ldg, in + j, ldp);
    t.template mac<layout::rows, true>(t.height, g + i * ldg + i, ldg, in + i * ldp + j, ldp);
    if (c.skip != nullptr)
      t.each([&](vec<T>& r, int a, int b) { r += t.in(c.v.row(i + a) + j, b) * t.in(c.skip + j, b); });
    if constexpr (Past)
      t.store_past(y.row(i) + j, y.stride);
    else
      t.store(y.row(i) + j, y.stride);
  });
}

namespace detail {
/// V vectors of columns (the last one the first entries `last` of it, if Tail) of one step.
template <class T, int V, bool Tail>
[[gnu::noinline]] void step_columns(index_t n, T const* q, T const* k, T const* v, T keep, T weight, T scale,
                                    T skip_of_v, T const* from, index_t ld_from, T* to, index_t ld_to, T* y,
                                    part<T> last) {
  auto const in = [&](T const* at, int j) {
    if constexpr (Tail) return load(at + j * lanes<T>, last);
    return load(at + j * lanes<T>);
  };
  auto const out = [&](T* at, int j, vec<T> r) {
    if constexpr (Tail)
      store(at + j * lanes<T>, r, last);
    else
      store(at + j * lanes<T>, r);
  };
  vec<T> x[V], sum[V];
  SMX_UNROLL for (int j = 0; j < V; ++j) {
    x[j] = in(v, j);
    sum[j] = vec<T>{};
  }
  for (index_t i = 0; i < n; ++i) {
    vec<T> const kw = splat(k[i] * weight), qs = splat(q[i]), a = splat(keep);
    SMX_UNROLL for (int j = 0; j < V; ++j) {
      vec<T> s = kw * x[j];
      if (from != nullptr) s += a * in(from + i * ld_from, j);
      sum[j] += qs * s;
      if (to != nullptr) out(to + i * ld_to, j, s);
    }
  }
  SMX_UNROLL for (int j = 0; j < V; ++j) out(y, j, sum[j] * scale + x[j] * skip_of_v);
}
}  // namespace detail

/// One row: from (n,p) or null to the state `to` (n,p) or null, which may be `from`; one pass over both.
/// skip: of every column, skip_stride apart, or null.
template <class T>
void scan_step(scan_chunk<T> const& c, T const* skip, index_t skip_stride, T const* from, index_t ld_from,
               T* to, index_t ld_to, T* y) {
  T const keep = c.decay.first == nullptr ? T(1) : std::exp(*c.decay.first),
          weight = c.weight.first == nullptr ? T(1) : *c.weight.first;
  bool const each = skip != nullptr && skip_stride != 0;
  T const same = skip != nullptr && !each ? *skip : T(0);
  auto const run = [&](auto width, auto tail, index_t j, part<T> last) {
    detail::step_columns<T, width(), tail()>(c.n, c.q.first, c.k.first, c.v.first + j, keep, weight, c.scale,
                                             same, from == nullptr ? from : from + j, ld_from,
                                             to == nullptr ? to : to + j, ld_to, y + j, last);
  };
  index_t j = 0;
  for (; j + 4 * lanes<T> <= c.p; j += 4 * lanes<T>)
    run(std::integral_constant<int, 4>{}, std::false_type{}, j, part<T>{});
  for (; j + lanes<T> <= c.p; j += lanes<T>)
    run(std::integral_constant<int, 1>{}, std::false_type{}, j, part<T>{});
  if (j < c.p) run(std::integral_constant<int, 1>{}, std::true_type{}, j, part<T>(c.p - j));
  if (each)
    for (index_t i = 0; i < c.p; ++i) y[i] += skip[i * skip_stride] * c.v.first[i];
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
