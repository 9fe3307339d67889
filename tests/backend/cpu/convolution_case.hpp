// SPDX-License-Identifier: Apache-2.0
/// \file  Long convolutions to test: arrays in any layout, and the direct sums they are compared with, in
/// wider arithmetic.
#pragma once

#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <type_traits>
#include <vector>

#include <smx/backend/cpu/convolution/forward.hpp>

#include "../../catch.hpp"

namespace test {

using smx::index_t;
namespace cpu = smx::cpu_kernels;

/// What sums of T are checked in.
template <class T> using wide = std::conditional_t<std::is_same_v<T, float>, double, long double>;

/// Numbers on a vector boundary, not-a-number until written, with a guard behind them.
template <class T> class buffer {
 public:
  explicit buffer(index_t n) : n_(n) {
    auto const bytes = (static_cast<std::size_t>(n + guard) * sizeof(T) + 63) / 64 * 64;
    p_.reset(static_cast<T*>(std::aligned_alloc(64, bytes)));
    std::fill_n(p_.get(), n, std::numeric_limits<T>::quiet_NaN());
    std::fill_n(p_.get() + n, guard, mark);
  }
  T* get() const { return p_.get(); }
  bool intact() const {
    for (index_t i = 0; i < guard; ++i)
      if (p_.get()[n_ + i] != mark) return false;
    return true;
  }

 private:
  struct release {
    void operator()(T* p) const { std::free(p); }
  };
  static constexpr index_t guard = 16;
  static constexpr T mark = T(12345);
  index_t n_;
  std::unique_ptr<T, release> p_;
};

template <class T> std::vector<T> normal_numbers(index_t n, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal;
  std::vector<T> x(static_cast<std::size_t>(n));
  for (T& v : x) v = static_cast<T>(normal(engine));
  return x;
}

enum class reach { causal, bidirectional, circular };
enum class order { time_major, channel_major, neither };

struct options {
  reach kind = reach::causal;
  order layout = order::time_major;
  bool skip = false, gates = false, kernel_time_major = false;
  index_t taps = 0;  ///< 0: as many as positions
};

/// A batch of (L, D) arrays in a layout, with room between rows.
template <class T> struct array {
  std::vector<T> data;
  index_t batch, time, channel;

  array(index_t b, index_t length, index_t channels, order layout, unsigned seed) {
    bool const wide_rows = layout != order::channel_major;
    channel = layout == order::neither ? 2 : wide_rows ? 1 : length + 3;
    time = wide_rows ? channels * channel + 5 : 1;
    batch = wide_rows ? length * time : channels * channel;
    data = normal_numbers<T>(b * batch, seed);
  }
  cpu::sequence<T> get() { return {data.data(), batch, time, channel}; }
  cpu::sequence<T const> get() const { return {data.data(), batch, time, channel}; }
  T const& operator()(index_t b, index_t i, index_t d) const {
    return data[static_cast<std::size_t>(b * batch + i * time + d * channel)];
  }
  T& operator()(index_t b, index_t i, index_t d) {
    return data[static_cast<std::size_t>(b * batch + i * time + d * channel)];
  }
};

template <class T> struct convolution_case {
  index_t length, channels, batch;
  options o;
  index_t taps;
  array<T> u, pre, post, y;
  array<T> k, k_rev;  // batch 0
  std::vector<T> skip;

  convolution_case(index_t length_, index_t channels_, index_t batch_, options const& o_)
      : length(length_),
        channels(channels_),
        batch(batch_),
        o(o_),
        taps(o.taps == 0 ? length : o.taps),
        u(batch, length, channels, o.layout, 1),
        pre(batch, length, channels, o.layout, 2),
        post(batch, length, channels, o.layout, 3),
        y(batch, length, channels, o.layout, 4),
        k(1, taps, channels, o.kernel_time_major ? order::time_major : order::channel_major, 5),
        k_rev(1, taps, channels, o.kernel_time_major ? order::time_major : order::channel_major, 6),
        skip(normal_numbers<T>(channels, 7)) {}

  cpu::convolution_kernel<T const> kernel() const {
    cpu::convolution_kernel<T const> c;
    c.causal = k.get(), c.taps = taps, c.circular = o.kind == reach::circular;
    if (o.kind == reach::bidirectional) c.anticausal = k_rev.get(), c.anticausal_taps = taps;
    if (o.skip) c.skip = skip.data();
    return c;
  }
  cpu::sequence<T const> gate(array<T> const& g) const {
    return o.gates ? g.get() : cpu::sequence<T const>();
  }

  /// What output i takes of input j, both of channel d.
  wide<T> tap(index_t i, index_t j, index_t d) const {
    wide<T> t = o.skip && i == j ? wide<T>(skip[static_cast<std::size_t>(d)]) : 0;
    index_t const lag = o.kind == reach::circular ? (i - j + length) % length : i - j;
    if (lag >= 0 && lag < taps) t += k(0, lag, d);
    if (lag < 0 && o.kind == reach::bidirectional && -lag <= taps) t += k_rev(0, -lag - 1, d);
    return t;
  }
  wide<T> signal(index_t b, index_t j, index_t d) const {
    return wide<T>(u(b, j, d)) * (o.gates ? wide<T>(pre(b, j, d)) : 1);
  }
  /// conv(pre * u) at i, without post.
  wide<T> inner(index_t b, index_t i, index_t d) const {
    wide<T> sum = 0;
    for (index_t j = 0; j < length; ++j) sum += tap(i, j, d) * signal(b, j, d);
    return sum;
  }
  double gate_out(index_t b, index_t i, index_t d) const { return o.gates ? double(post(b, i, d)) : 1; }

  struct norms {
    double one = 0, two = 0;
    void add(double x) { one += std::abs(x), two += x * x; }
  };
  norms kernel_norms(index_t d) const {
    norms n;
    for (index_t l = 0; l < taps; ++l) {
      n.add(double(k(0, l, d)));
      if (o.kind == reach::bidirectional) n.add(double(k_rev(0, l, d)));
    }
    if (o.skip) n.add(double(skip[static_cast<std::size_t>(d)]));
    n.two = std::sqrt(n.two);
    return n;
  }
  norms signal_norms(index_t b, index_t d) const {
    norms n;
    for (index_t j = 0; j < length; ++j) n.add(static_cast<double>(signal(b, j, d)));
    n.two = std::sqrt(n.two);
    return n;
  }
};

/// First, middle and last: enough to meet whole tiles and the partial one.
inline std::vector<index_t> some_channels(index_t channels) {
  if (channels == 1) return {0};
  if (channels < 4) return {0, channels - 1};
  return {0, channels / 2, channels - 1};
}

/// Everything a call needs besides the case.
template <class T> struct prepared {
  cpu::transform_plan plan;
  buffer<T> twiddles, spectrum;

  explicit prepared(convolution_case<T> const& c)
      : plan(cpu::make_transform_plan(c.length)),
        twiddles(plan.twiddles),
        spectrum(cpu::spectrum_size<T>(plan, c.channels)) {
    buffer<T> scratch(cpu::spectrum_scratch<T>(plan));
    cpu::fill_twiddles(plan, twiddles.get());
    cpu::kernel_spectrum<T>(plan, twiddles.get(), c.kernel(), c.channels, 0, cpu::tile_count<T>(c.channels),
                            spectrum.get(), scratch.get());
    CHECK(twiddles.intact());
    CHECK(spectrum.intact());
    CHECK(scratch.intact());
  }
  void forward(convolution_case<T>& c) const { forward(c, 0, cpu::tile_count<T>(c.channels)); }
  void forward(convolution_case<T>& c, index_t first, index_t count) const {
    buffer<T> scratch(cpu::forward_scratch<T>(plan));
    cpu::convolution_forward<T>(plan, twiddles.get(), spectrum.get(), c.batch, c.channels,
                                std::as_const(c.u).get(), c.gate(c.pre), c.gate(c.post), c.y.get(), first,
                                count, scratch.get());
    CHECK(scratch.intact());
  }
};

}  // namespace test
