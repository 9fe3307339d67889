// SPDX-License-Identifier: Apache-2.0
// The fused Monarch kernels, forward and backward, along rows and along channels, against the formula in
// double.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <smx/backend/cpu/monarch_channels_kernel.hpp>

#include "../../catch.hpp"
#include "../../scalars.hpp"

namespace {

namespace kernels = smx::cpu_kernels;
using kernels::monarch_sizes;
using smx::index_t;

std::size_t size(index_t n) { return static_cast<std::size_t>(n); }

template <class T> std::vector<T> numbers(index_t n, std::uint32_t seed) {
  std::vector<T> v(size(n));
  std::uint32_t s = seed * 2654435761u + 12345u;
  for (auto& x : v) {
    s = s * 1664525u + 1013904223u;
    x = static_cast<T>(static_cast<double>(s >> 8) / 8388608.0 - 1.0);
  }
  return v;
}

/// n elements aligned to a cache line, with a guard behind them.
template <class T> class aligned {
 public:
  explicit aligned(index_t n, T fill = T(77))
      : n_(size(n)), memory_(n_ + 64 / sizeof(T) + 16, fill), fill_(fill) {}
  aligned(std::vector<T> const& from) : aligned(static_cast<index_t>(from.size())) {
    std::copy(from.begin(), from.end(), data());
  }
  T* data() {
    auto const bytes = reinterpret_cast<std::uintptr_t>(memory_.data()) % 64;
    return memory_.data() + (bytes == 0 ? 0 : (64 - bytes) / sizeof(T));
  }
  double operator[](index_t i) { return static_cast<double>(data()[i]); }
  bool intact() {
    return std::all_of(data() + n_, memory_.data() + memory_.size(), [&](T x) { return x == fill_; });
  }

 private:
  std::size_t n_;
  std::vector<T> memory_;
  T fill_;
};

/// Everything in double: the formula, and the same with absolute values, which bounds every rounding error.
struct exact {
  std::vector<double> u, y, du, dx, dw1, dw2;

  exact(monarch_sizes const& z, index_t d, std::vector<double> const& w1, std::vector<double> const& w2,
        std::vector<double> const& x, std::vector<double> const& dy) {
    index_t const middle = z.middle();
    u.resize(size(middle * d)), y.resize(size(z.out_length * d)), du.resize(size(middle * d));
    dx.resize(size(z.in_length * d)), dw1.resize(w1.size()), dw2.resize(w2.size());
    for (index_t c = 0; c < d; ++c) {
      for (index_t k = 0; k < z.k; ++k)
        for (index_t q = 0; q < z.q; ++q)
          for (index_t p = 0; p < z.p && k * z.p + p < z.in_length; ++p)
            u[size((k * z.q + q) * d + c)] +=
                w1[size((k * z.q + q) * z.p + p)] * x[size((k * z.p + p) * d + c)];
      for (index_t l = 0; l < z.l; ++l)
        for (index_t s = 0; s < z.s && s * z.l + l < z.out_length; ++s)
          for (index_t r = 0; r < z.r; ++r) {
            std::size_t const w = size((l * z.s + s) * z.r + r), out = size((s * z.l + l) * d + c);
            std::size_t const mid = size((r * z.l + l) * d + c);
            y[out] += w2[w] * u[mid];
            du[mid] += w2[w] * dy[out];
            dw2[w] += dy[out] * u[mid];
          }
      for (index_t k = 0; k < z.k; ++k)
        for (index_t q = 0; q < z.q; ++q)
          for (index_t p = 0; p < z.p && k * z.p + p < z.in_length; ++p) {
            std::size_t const w = size((k * z.q + q) * z.p + p), in = size((k * z.p + p) * d + c);
            std::size_t const mid = size((k * z.q + q) * d + c);
            dx[in] += w1[w] * du[mid];
            dw1[w] += du[mid] * x[in];
          }
    }
  }
};

template <class T> std::vector<double> widened(std::vector<T> v, bool absolute) {
  std::vector<double> r(v.size());
  std::transform(v.begin(), v.end(), r.begin(),
                 [&](T x) { return absolute ? std::fabs(static_cast<double>(x)) : static_cast<double>(x); });
  return r;
}

/// One problem with its inputs, the exact results and the bounds.
template <class T> struct problem {
  monarch_sizes z;
  index_t d;
  std::vector<T> w1, w2, x, dy;
  exact value, bound;
  double unit;  ///< roundings of the longest chain times eps

  problem(monarch_sizes const& sizes, index_t columns)
      : z(sizes),
        d(columns),
        w1(numbers<T>(z.k * z.q * z.p, 1)),
        w2(numbers<T>(z.l * z.s * z.r, 2)),
        x(numbers<T>(z.in_length * d, 3)),
        dy(numbers<T>(z.out_length * d, 4)),
        value(z, d, widened(w1, false), widened(w2, false), widened(x, false), widened(dy, false)),
        bound(z, d, widened(w1, true), widened(w2, true), widened(x, true), widened(dy, true)),
        unit(static_cast<double>(z.p + z.r + z.s + z.q + d + 2) * std::numeric_limits<T>::epsilon()) {}

  /// |got - expected| <= unit * bound for rows x columns entries, got with leading dimension ld (or, if
  /// turned, got^T).
  bool close(aligned<T>& got, index_t ld, std::vector<double> const& expected,
             std::vector<double> const& size_of, index_t rows, index_t columns, bool turned = false,
             double offset = 0) {
    for (index_t i = 0; i < rows; ++i)
      for (index_t j = 0; j < columns; ++j) {
        double const g = got[turned ? j * ld + i : i * ld + j] - offset;
        std::size_t const e = size(i * columns + j);
        if (!(std::fabs(g - expected[e]) <= unit * (size_of[e] + std::fabs(offset)))) return false;
      }
    return true;
  }
};

/// rows x columns of v with leading dimension ld, the gaps NaN: they must not be read; or its transpose.
template <class T>
aligned<T> spread(std::vector<T> const& v, index_t rows, index_t columns, index_t ld, bool turned = false) {
  aligned<T> r((turned ? columns : rows) * ld, std::numeric_limits<T>::quiet_NaN());
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = 0; j < columns; ++j)
      r.data()[turned ? j * ld + i : i * ld + j] = v[size(i * columns + j)];
  return r;
}

/// Whether the gaps between the rows still hold the fill value.
template <class T> bool gaps_kept(aligned<T>& v, index_t rows, index_t columns, index_t ld) {
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = columns; j < ld; ++j)
      if (v[i * ld + j] != 77) return false;
  return v.intact();
}

/// Columns in two ranges, weight blocks in two ranges; each must be independent of the other.
template <class T> void check_rows(monarch_sizes const& z, index_t d) {
  INFO("k q p " << z.k << ' ' << z.q << ' ' << z.p << " l s r " << z.l << ' ' << z.s << ' ' << z.r << " in "
                << z.in_length << " out " << z.out_length << " columns " << d);
  problem<T> t(z, d);
  index_t const ld = d + 5, ldt = d + 3, cut = d / 3;
  auto x = spread(t.x, z.in_length, d, ld), dy = spread(t.dy, z.out_length, d, ld);
  aligned<T> w1(t.w1), w2(t.w2), y(z.out_length * ld), u(z.middle() * ldt), dx(z.in_length * ld),
      du(z.middle() * ldt);
  aligned<T> scratch(kernels::monarch_scratch<T>(z)), wide(kernels::monarch_weights_scratch<T>(d));
  for (auto [d0, d1] : {std::pair<index_t, index_t>{0, cut}, {cut, d}}) {
    kernels::monarch_forward<T>(z, d0, d1, w1.data(), w2.data(), x.data(), ld, y.data(), ld, u.data(), ldt,
                                scratch.data());
    kernels::monarch_backward_input<T>(z, d0, d1, w1.data(), w2.data(), dy.data(), ld, dx.data(), ld,
                                       du.data(), ldt, scratch.data());
  }
  CHECK(t.close(y, ld, t.value.y, t.bound.y, z.out_length, d));
  CHECK(gaps_kept(y, z.out_length, d, ld));
  CHECK(t.close(u, ldt, t.value.u, t.bound.u, z.middle(), d));
  CHECK(t.close(dx, ld, t.value.dx, t.bound.dx, z.in_length, d));
  CHECK(gaps_kept(dx, z.in_length, d, ld));
  CHECK(t.close(du, ldt, t.value.du, t.bound.du, z.middle(), d));
  CHECK(scratch.intact());

  aligned<T> dw1(z.k * z.q * z.p, T(3)), dw2(z.l * z.s * z.r, T(3));  // += onto 3
  for (auto [a, b] : {std::pair<index_t, index_t>{0, 1}, {1, 1000}}) {
    kernels::monarch_backward_w1<T>(z, std::min(a, z.k), std::min(b, z.k), d, x.data(), ld, du.data(), ldt,
                                    dw1.data(), wide.data());
    kernels::monarch_backward_w2<T>(z, std::min(a, z.l), std::min(b, z.l), d, u.data(), ldt, dy.data(), ld,
                                    dw2.data(), wide.data());
  }
  CHECK(t.close(dw1, z.p, t.value.dw1, t.bound.dw1, z.k * z.q, z.p, false, 3));
  CHECK(t.close(dw2, z.r, t.value.dw2, t.bound.dw2, z.l * z.s, z.r, false, 3));
  CHECK(dw1.intact());
  CHECK(dw2.intact());
  CHECK(wide.intact());

  aligned<T> again(z.out_length * ld);  // without a tape, in one range: the same bits
  kernels::monarch_forward<T>(z, 0, d, w1.data(), w2.data(), x.data(), ld, again.data(), ld, nullptr, 0,
                              scratch.data());
  CHECK(std::equal(y.data(), y.data() + z.out_length * ld, again.data()));
}

/// The same matrix applied to the rows of x^T (tokens = columns of the problem).
template <class T> void check_channels(monarch_sizes const& z, index_t tokens) {
  INFO("k q p " << z.k << ' ' << z.q << ' ' << z.p << " l s r " << z.l << ' ' << z.s << ' ' << z.r << " in "
                << z.in_length << " out " << z.out_length << " tokens " << tokens);
  problem<T> t(z, tokens);
  index_t const ldx = z.in_length + 5, ldy = z.out_length + 3, ldt = tokens + 1, cut = tokens / 3;
  auto x = spread(t.x, z.in_length, tokens, ldx, true), dy = spread(t.dy, z.out_length, tokens, ldy, true);
  aligned<T> w1(t.w1), w2(t.w2), y(tokens * ldy), u(z.middle() * ldt), dx(tokens * ldx), du(z.middle() * ldt);
  aligned<T> dyt(z.out_length * ldt), dw1(z.k * z.q * z.p, T(3)), dw2(z.l * z.s * z.r, T(3));
  aligned<T> scratch(kernels::monarch_channels_scratch<T>(z)),
      wide(kernels::monarch_weights_scratch<T>(tokens));
  for (auto [t0, t1] : {std::pair<index_t, index_t>{0, cut}, {cut, tokens}}) {
    kernels::monarch_channels_forward<T>(z, t0, t1, w1.data(), w2.data(), x.data(), ldx, y.data(), ldy,
                                         u.data(), ldt, scratch.data());
    kernels::monarch_channels_backward_input<T>(z, t0, t1, w1.data(), w2.data(), dy.data(), ldy, dx.data(),
                                                ldx, dyt.data(), ldt, du.data(), ldt, scratch.data());
  }
  for (auto [a, b] : {std::pair<index_t, index_t>{0, 1}, {1, 1000}}) {
    kernels::monarch_channels_backward_w1<T>(z, std::min(a, z.k), std::min(b, z.k), tokens, x.data(), ldx,
                                             du.data(), ldt, dw1.data(), wide.data());
    kernels::monarch_backward_w2<T>(z, std::min(a, z.l), std::min(b, z.l), tokens, u.data(), ldt, dyt.data(),
                                    ldt, dw2.data(), wide.data());
  }
  CHECK(t.close(y, ldy, t.value.y, t.bound.y, z.out_length, tokens, true));
  CHECK(gaps_kept(y, tokens, z.out_length, ldy));
  CHECK(t.close(u, ldt, t.value.u, t.bound.u, z.middle(), tokens));
  CHECK(t.close(dx, ldx, t.value.dx, t.bound.dx, z.in_length, tokens, true));
  CHECK(gaps_kept(dx, tokens, z.in_length, ldx));
  CHECK(t.close(du, ldt, t.value.du, t.bound.du, z.middle(), tokens));
  CHECK(t.close(dw1, z.p, t.value.dw1, t.bound.dw1, z.k * z.q, z.p, false, 3));
  CHECK(t.close(dw2, z.r, t.value.dw2, t.bound.dw2, z.l * z.s, z.r, false, 3));
  CHECK(scratch.intact());
  CHECK(wide.intact());
}

monarch_sizes square(index_t b, index_t length) { return {b, b, b, b, b, b, length, length}; }

/// Square, rectangular, stages that regroup the middle (l != q), short inputs and outputs.
std::vector<monarch_sizes> all_sizes() {
  return {square(1, 1),
          square(2, 4),
          square(7, 49),
          square(17, 17 * 17),
          square(17, 280),
          square(33, 33 * 33),
          {4, 4, 9, 4, 4, 4, 31, 15},   // short last blocks
          {3, 5, 7, 5, 11, 3, 21, 55},  // rectangular
          {3, 5, 7, 5, 11, 3, 8, 3},    // blocks without any input, outputs of the first row only
          {4, 6, 5, 3, 7, 8, 20, 21},   // l != q
          {6, 2, 3, 4, 5, 3, 17, 18},
          {1, 12, 20, 4, 9, 3, 20, 36}};
}

}  // namespace

TEMPLATE_TEST_CASE("monarch along rows: forward and backward follow the formula", "[cpu][monarch]",
                   TEST_SCALARS) {
  for (auto const& z : all_sizes())
    for (index_t d : {1, 7, 53}) check_rows<TestType>(z, d);
  check_rows<TestType>(square(9, 81), 300);
}

TEMPLATE_TEST_CASE("monarch along channels: forward and backward follow the formula", "[cpu][monarch]",
                   TEST_SCALARS) {
  for (auto const& z : all_sizes())
    for (index_t tokens : {1, 7, 53}) check_channels<TestType>(z, tokens);
  check_channels<TestType>(square(9, 81), 300);
}

// u of one panel beyond L2, outputs and records beyond the caches, whole lines: the other branches of the
// blocking.
TEST_CASE("monarch along rows: lengths beyond the caches", "[cpu][monarch]") {
  constexpr index_t b = 75, length = b * b, d = 112;
  monarch_sizes const z = square(b, length - 3);
  auto const w = numbers<float>(b * length, 1), input = numbers<float>(length * d, 2);
  aligned<float> w1(w), x(input), y(length * d), u(length * d), scratch(kernels::monarch_scratch<float>(z));
  kernels::monarch_forward<float>(z, 0, d, w1.data(), w1.data(), x.data(), d, y.data(), d, u.data(), d,
                                  scratch.data());
  double const unit = std::numeric_limits<float>::epsilon();
  double worst = 0;
  bool recorded = true;
  for (index_t c : {0, 47, 48, 111})
    for (index_t out = 0; out < z.out_length; out += 37) {
      index_t const l = out % b, s = out / b;
      double sum = 0, bound = 0;
      for (index_t r = 0; r < b; ++r) {
        double mid = 0, mid_bound = 0;
        for (index_t p = 0; p < b && r * b + p < z.in_length; ++p) {
          double const term = static_cast<double>(w[size((r * b + l) * b + p)]) * x[(r * b + p) * d + c];
          mid += term;
          mid_bound += std::fabs(term);
        }
        recorded = recorded && std::fabs(mid - u[(r * b + l) * d + c]) <= (b + 2) * unit * mid_bound;
        double const factor = static_cast<double>(w[size((l * b + s) * b + r)]);
        sum += factor * mid;
        bound += std::fabs(factor) * mid_bound;
      }
      worst = std::max(worst, std::fabs(sum - y[out * d + c]) / bound);
    }
  CHECK(worst <= (2 * b + 2) * unit);
  CHECK(recorded);
  CHECK(scratch.intact());
  CHECK(y[z.out_length * d] == 77);
}

TEST_CASE("monarch along channels: matrices beyond the caches, the same bits as along rows",
          "[cpu][monarch]") {
  constexpr index_t b = 32, n = b * b,
                    tokens = 528;  // whole panels, 2.1 MB each: everything is stored past the caches
  monarch_sizes const z = square(b, n);
  aligned<float> w1(numbers<float>(b * n, 1)), w2(numbers<float>(b * n, 2));
  aligned<float> x(numbers<float>(tokens * n, 3)), dy(numbers<float>(tokens * n, 4)), xt(tokens * n),
      dyt(tokens * n);
  for (index_t t = 0; t < tokens; ++t)
    for (index_t f = 0; f < n; ++f) {
      xt.data()[f * tokens + t] = x.data()[t * n + f];
      dyt.data()[f * tokens + t] = dy.data()[t * n + f];
    }
  aligned<float> y(tokens * n), dx(tokens * n), u(tokens * n), du(tokens * n), record(tokens * n);
  aligned<float> yt(tokens * n), dxt(tokens * n), ut(tokens * n), dut(tokens * n);
  aligned<float> scratch(kernels::monarch_channels_scratch<float>(z));
  kernels::monarch_forward<float>(z, 0, tokens, w1.data(), w2.data(), xt.data(), tokens, yt.data(), tokens,
                                  ut.data(), tokens, scratch.data());
  kernels::monarch_backward_input<float>(z, 0, tokens, w1.data(), w2.data(), dyt.data(), tokens, dxt.data(),
                                         tokens, dut.data(), tokens, scratch.data());
  kernels::monarch_channels_forward<float>(z, 0, tokens, w1.data(), w2.data(), x.data(), n, y.data(), n,
                                           u.data(), tokens, scratch.data());
  kernels::monarch_channels_backward_input<float>(z, 0, tokens, w1.data(), w2.data(), dy.data(), n, dx.data(),
                                                  n, record.data(), tokens, du.data(), tokens,
                                                  scratch.data());
  auto const same = [](aligned<float>& a, aligned<float>& c) {
    return std::equal(a.data(), a.data() + tokens * n, c.data());
  };
  CHECK(same(u, ut));
  CHECK(same(du, dut));
  CHECK(same(record, dyt));
  bool turned = true;
  for (index_t t = 0; t < tokens; ++t)
    for (index_t f = 0; f < n; ++f)
      turned = turned && y[t * n + f] == yt[f * tokens + t] && dx[t * n + f] == dxt[f * tokens + t];
  CHECK(turned);
}

TEST_CASE("monarch: a NaN of the input reaches what depends on it and nothing else", "[cpu][monarch]") {
  constexpr index_t b = 4, d = 20;
  monarch_sizes const z = square(b, b * b);
  aligned<float> w(numbers<float>(b * b * b, 1)), x(numbers<float>(b * b * d, 2)), y(b * b * d);
  aligned<float> scratch(kernels::monarch_scratch<float>(z));
  x.data()[5 * d + 17] = std::numeric_limits<float>::quiet_NaN();
  kernels::monarch_forward<float>(z, 0, d, w.data(), w.data(), x.data(), d, y.data(), d, nullptr, 0,
                                  scratch.data());
  for (index_t i = 0; i < b * b; ++i)
    for (index_t c = 0; c < d; ++c) CHECK(std::isnan(y[i * d + c]) == (c == 17));
}
