// SPDX-License-Identifier: Apache-2.0
/// \file  Between the caller's arrays and the rows of a tile: one row is one time step of lanes<T> channels.
///
/// Time-major arrays (channel stride 1) are copied row by row, several tiles at once: single cache lines a
/// whole row of D channels apart are the worst that one can ask of a memory, and no hardware prefetcher
/// follows them. Channel-major arrays (time stride 1) are transposed in registers. Any other strides work,
/// entry by entry. Gates, zero padding and partial tiles (masked) end here: the transform never sees them.
#pragma once

#include <algorithm>
#include <utility>

#include <smx/backend/cpu/simd.hpp>
#include <smx/backend/cpu/transpose.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// A batch of (L, D) arrays; strides in elements, negative ones allowed.
template <class T> struct sequence {
  T* ptr = nullptr;
  index_t batch = 0, time = 0, channel = 0;

  sequence() = default;
  sequence(T* p, index_t b, index_t t, index_t c) : ptr(p), batch(b), time(t), channel(c) {}
  template <class U>
  requires std::is_same_v<T, U const> sequence(sequence<U> const& s)
      : ptr(s.ptr), batch(s.batch), time(s.time), channel(s.channel) {}

  explicit operator bool() const { return ptr != nullptr; }
  /// Batch item b from channel d on.
  sequence at(index_t b, index_t d) const {
    return ptr == nullptr ? *this : sequence(ptr + b * batch + d * channel, 0, time, channel);
  }
};

/// The rows of `width` channels in tiles: row n of tile g lies at ptr + g*tile + n*row.
template <class T> struct staging {
  T* ptr;
  index_t row = lanes<T>, tile = 0;
};

/// How a row reaches the caller's array.
enum class border { assign, past_cache, accumulate };

namespace detail {

/// The product with a gate whose vectors are at the same offsets as the array's, when there is one.
template <class T> SMX_INLINE vec<T> gated(vec<T> v, T const* gate) {
  return gate != nullptr ? v * load<T>(gate) : v;
}
template <class T> SMX_INLINE vec<T> gated(vec<T> v, T const* gate, part<T> const& some) {
  return gate != nullptr ? v * load<T>(gate, some) : v;
}

template <border B, class T> SMX_INLINE void put(T* p, vec<T> v, T factor) {
  if constexpr (B == border::assign)
    store<T>(p, v);
  else if constexpr (B == border::past_cache)
    store_past_cache<T>(p, v);
  else
    store<T>(p, load<T>(p) + factor * v);
}
template <border B, class T> SMX_INLINE void put(T* p, vec<T> v, T factor, part<T> const& some) {
  if constexpr (B == border::accumulate)
    store<T>(p, load<T>(p, some) + factor * v, some);
  else
    store<T>(p, v, some);
}

/// Rows this far ahead are asked for. 8 were 1.2 times slower on Zen 5; 32 are the same.
inline constexpr index_t rows_ahead = 16;

}  // namespace detail

/// Rows 0 .. count-1 of `width` channels, times the gate if there is one. Lanes past `width` become 0.
/// u and gate must have the same unit stride to be read at full speed.
template <class T>
[[gnu::noinline]] void gather(staging<T> const out, sequence<T const> const u, sequence<T const> const gate,
                              index_t count, index_t width) {
  constexpr index_t w = lanes<T>;
  index_t const full = width / w, rest = width % w;
  bool const alike = !gate || (gate.time == u.time && gate.channel == u.channel);
  if (u.channel == 1 && (!gate || gate.channel == 1)) {
    part<T> const some = rest > 0 ? part<T>(rest) : part<T>();
    T const *p = u.ptr, *q = gate.ptr;
    SMX_ROLLED
    for (index_t n = 0; n < count; ++n, p += u.time, q = q != nullptr ? q + gate.time : q) {
      T* o = out.ptr + n * out.row;
      for (index_t g = 0; g < full; ++g, o += out.tile) {
        __builtin_prefetch(p + g * w + detail::rows_ahead * u.time);
        if (q != nullptr) __builtin_prefetch(q + g * w + detail::rows_ahead * gate.time);
        store<T>(o, detail::gated<T>(load<T>(p + g * w), q != nullptr ? q + g * w : q));
      }
      if (rest > 0)
        store<T>(o, detail::gated<T>(load<T>(p + full * w, some), q != nullptr ? q + full * w : q, some));
    }
  } else if (u.time == 1 && alike) {
    for (index_t g = 0; g * w < width; ++g) {
      index_t const here = std::min<index_t>(w, width - g * w);
      T const *p = u.ptr + g * w * u.channel, *q = gate ? gate.ptr + g * w * u.channel : nullptr;
      T* const o = out.ptr + g * out.tile;
      for (index_t n = 0; n < count; n += w) {
        vec<T> x[w];
        index_t const rows = std::min<index_t>(w, count - n);
        if (here == w && rows == w) {
          SMX_UNROLL
          for (int c = 0; c < w; ++c) x[c] = load<T>(p + n + c * u.channel);
          if (q != nullptr) {
            SMX_UNROLL
            for (int c = 0; c < w; ++c) x[c] *= load<T>(q + n + c * u.channel);
          }
        } else {
          part<T> const some = rows < w ? part<T>(rows) : part<T>();
          SMX_UNROLL
          for (int c = 0; c < w; ++c) {
            x[c] = vec<T>{};
            if (c >= here) continue;
            T const* const r = q != nullptr ? q + n + c * u.channel : q;
            if (rows < w)
              x[c] = detail::gated<T>(load<T>(p + n + c * u.channel, some), r, some);
            else
              x[c] = detail::gated<T>(load<T>(p + n + c * u.channel), r);
          }
        }
        transpose_square<T>(x);
        SMX_UNROLL
        for (int c = 0; c < w; ++c)
          if (c < rows) store<T>(o + (n + c) * out.row, x[c]);
      }
    }
  } else {
    for (index_t n = 0; n < count; ++n)
      for (index_t c = 0; c < (full + (rest > 0)) * w; ++c) {
        T v = c < width ? u.ptr[n * u.time + c * u.channel] : T(0);
        if (gate && c < width) v *= gate.ptr[n * gate.time + c * gate.channel];
        out.ptr[c / w * out.tile + n * out.row + c % w] = v;
      }
  }
}

/// The reverse: y := rows * gate, or y += factor * rows * gate. `past_cache` wants whole tiles, rows on
/// vector boundaries.
template <border B, class T>
[[gnu::noinline]] void scatter(staging<T> const in, sequence<T> const y, sequence<T const> const gate,
                               index_t count, index_t width, T factor = T(1)) {
  constexpr index_t w = lanes<T>;
  index_t const full = width / w, rest = width % w;
  bool const alike = !gate || (gate.time == y.time && gate.channel == y.channel);
  if (y.channel == 1 && (!gate || gate.channel == 1)) {
    part<T> const some = rest > 0 ? part<T>(rest) : part<T>();
    T* p = y.ptr;
    T const* q = gate.ptr;
    SMX_ROLLED
    for (index_t n = 0; n < count; ++n, p += y.time, q = q != nullptr ? q + gate.time : q) {
      T const* o = in.ptr + n * in.row;
      for (index_t g = 0; g < full; ++g, o += in.tile) {
        if (q != nullptr) __builtin_prefetch(q + g * w + detail::rows_ahead * gate.time);
        detail::put<B, T>(p + g * w, detail::gated<T>(load<T>(o), q != nullptr ? q + g * w : q), factor);
      }
      if (rest > 0)
        detail::put<B, T>(p + full * w, detail::gated<T>(load<T>(o), q != nullptr ? q + full * w : q, some),
                          factor, some);
    }
  } else if (y.time == 1 && alike) {
    for (index_t g = 0; g * w < width; ++g) {
      index_t const here = std::min<index_t>(w, width - g * w);
      T* const p = y.ptr + g * w * y.channel;
      T const *q = gate ? gate.ptr + g * w * y.channel : nullptr, *o = in.ptr + g * in.tile;
      for (index_t n = 0; n < count; n += w) {
        vec<T> x[w];
        index_t const rows = std::min<index_t>(w, count - n);
        SMX_UNROLL
        for (int c = 0; c < w; ++c) x[c] = c < rows ? load<T>(o + (n + c) * in.row) : vec<T>{};
        transpose_square<T>(x);
        part<T> const some = rows < w ? part<T>(rows) : part<T>();
        SMX_UNROLL
        for (int c = 0; c < w; ++c) {
          if (c >= here) continue;
          index_t const at = n + c * y.channel;
          T const* const r = q != nullptr ? q + at : q;
          if (rows < w)
            detail::put<B, T>(p + at, detail::gated<T>(x[c], r, some), factor, some);
          else
            detail::put<B, T>(p + at, detail::gated<T>(x[c], r), factor);
        }
      }
    }
  } else {
    for (index_t n = 0; n < count; ++n)
      for (index_t c = 0; c < width; ++c) {
        T v = in.ptr[c / w * in.tile + n * in.row + c % w];
        if (gate) v *= gate.ptr[n * gate.time + c * gate.channel];
        T& to = y.ptr[n * y.time + c * y.channel];
        to = B == border::accumulate ? to + factor * v : v;
      }
  }
}

/// Rows first .. last-1 := 0.
template <class T> SMX_INLINE void clear(T* rows, index_t row, index_t first, index_t last) {
  for (index_t n = first; n < last; ++n) store<T>(rows + n * row, vec<T>{});
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
