// SPDX-License-Identifier: Apache-2.0
/// \file  Parameterisations of "a causal Monarch matrix" that look right and are not: each as a mixer that
/// claims to be causal, whose oracle agrees with it. The suite must catch every one, by the law of who sees
/// whom, and pass the one that is right.
#include <complex>
#include <map>
#include <optional>

#include "tests/catch.hpp"
#include "tests/conformance/backends.hpp"
#include "tests/conformance/cases/matrix.hpp"

namespace test {

using namespace smx;

enum class parameterisation : char {
  whole,             // lowest degree j, degree below n, 2 n points
  graded_reversed,   // degree j, input and output reversed: causal too
  no_padding,        // n points: the product wraps around
  dense_blocks,      // no lowest degree
  graded,            // degree j, natural order: orthogonal polynomials
  degree_too_high,   // lowest degree j, but degree up to 2 n - 1
  value_blocks,      // the blocks of values are learned, not coefficients
  ring_one_padded,   // modulo (X^b - 1, Y^b - 1) without twiddles, Y padded
  ring_both_padded,  // both padded: causal, a quarter of the plane
  masked_factors,    // one Monarch matrix, both factors lower triangular
};

using complex = std::complex<double>;

/// A dense matrix, row-major.
template <class T> struct grid {
  index_t rows, cols;
  std::vector<T> cells;
  grid(index_t r, index_t c) : rows(r), cols(c), cells(static_cast<std::size_t>(r * c)) {}
  T& operator()(index_t i, index_t j) { return cells[static_cast<std::size_t>(i * cols + j)]; }
  T const& operator()(index_t i, index_t j) const { return cells[static_cast<std::size_t>(i * cols + j)]; }
};
template <class T> grid<T> operator*(grid<T> const& a, grid<T> const& b) {
  grid<T> c(a.rows, b.cols);
  for (index_t i = 0; i < a.rows; ++i)
    for (index_t k = 0; k < a.cols; ++k)
      for (index_t j = 0; j < b.cols; ++j) c(i, j) += a(i, k) * b(k, j);
  return c;
}
/// A^-1 B by elimination with row exchanges.
template <class T> grid<T> solved(grid<T> a, grid<T> b) {
  for (index_t k = 0; k < a.rows; ++k) {
    index_t best = k;
    for (index_t i = k; i < a.rows; ++i)
      if (std::abs(a(i, k)) > std::abs(a(best, k))) best = i;
    for (index_t j = 0; j < a.cols; ++j) std::swap(a(k, j), a(best, j));
    for (index_t j = 0; j < b.cols; ++j) std::swap(b(k, j), b(best, j));
    for (index_t i = 0; i < a.rows; ++i) {
      if (i == k) continue;
      T const f = a(i, k) / a(k, k);
      for (index_t j = k; j < a.cols; ++j) a(i, j) -= f * a(k, j);
      for (index_t j = 0; j < b.cols; ++j) b(i, j) -= f * b(k, j);
    }
  }
  for (index_t i = 0; i < b.rows; ++i)
    for (index_t j = 0; j < b.cols; ++j) b(i, j) /= a(i, i);
  return b;
}

enum class shape : char { lower, upper, full };

/// The mixing matrix of one parameterisation at n = d0 d1, random blocks with spread 0.7.
class construction {
 public:
  construction(index_t d0, index_t d1) : d0_(d0), d1_(d1), n_(d0 * d1) {}

  grid<double> matrix(parameterisation how) {
    switch (how) {
      case parameterisation::whole:
        return between(shape::lower, n_, false);
      case parameterisation::no_padding:
        return between(shape::lower, n_, true);
      case parameterisation::dense_blocks:
        return between(shape::full, n_, false);
      case parameterisation::graded:
        return between(shape::upper, n_, false);
      case parameterisation::degree_too_high:
        return between(shape::lower, 2 * n_, true);
      case parameterisation::graded_reversed:
        return reversed();
      case parameterisation::value_blocks:
        return values();
      case parameterisation::ring_one_padded:
        return rings(false);
      case parameterisation::ring_both_padded:
        return rings(true);
      case parameterisation::masked_factors:
        return masked();
    }
    return {0, 0};
  }

 private:
  double normal() { return random_stream{20, 1}.normal(next_++); }

  /// Coefficients of the basis for `size` positions, of which the top digit may have more than d1:
  /// C[i,j] = W_0[i_0,j_0] W_1[j_0][i_1,j_1].
  grid<double> basis(shape s, index_t size) {
    auto const block = [&](index_t d) {
      grid<double> w(d, d);
      for (index_t i = 0; i < d; ++i)
        for (index_t j = 0; j < d; ++j) {
          double const z = normal();
          bool const kept = s == shape::full || (s == shape::lower ? j < i : j > i);
          w(i, j) = i == j ? 1 + 0.2 * z : kept ? 0.7 * z / std::sqrt(static_cast<double>(d)) : 0;
        }
      return w;
    };
    index_t const top = size / d0_;
    auto const low = block(d0_);
    std::vector<grid<double>> high;
    for (index_t j = 0; j < d0_; ++j) high.push_back(block(top));
    grid<double> c(size, size);
    for (index_t i = 0; i < size; ++i)
      for (index_t j = 0; j < size; ++j)
        c(i, j) = low(i % d0_, j % d0_) * high[static_cast<std::size_t>(j % d0_)](i / d0_, j / d0_);
    return c;
  }
  grid<double> kernel(index_t size) {
    grid<double> k(size, 1);
    for (index_t i = 0; i < n_; ++i) k(i, 0) = normal();
    return k;
  }
  /// C0^-1 conv(C1 k, C2 .) of `size` positions, the first n of them; modulo Z^size - 1 if it wraps.
  grid<double> between(shape s, index_t size, bool wraps) {
    auto const c0 = basis(s, size), c1 = basis(s, size), c2 = basis(s, size);
    auto const k = c1 * kernel(size);
    grid<double> conv(size, size);
    for (index_t i = 0; i < size; ++i)
      for (index_t j = 0; j < size; ++j) conv(i, j) = i >= j ? k(i - j, 0) : wraps ? k(i - j + size, 0) : 0;
    return corner(solved(c0, conv * c2));
  }
  grid<double> corner(grid<double> const& m) const {
    grid<double> t(n_, n_);
    for (index_t i = 0; i < n_; ++i)
      for (index_t j = 0; j < n_; ++j) t(i, j) = m(i, j);
    return t;
  }
  /// Degrees j and below, input reversed, 2 n points; coefficients n - 1 .. 2 n - 2 reversed are the output.
  grid<double> reversed() {
    index_t const size = 2 * n_;
    auto const c0 = basis(shape::upper, size), c1 = basis(shape::upper, size), c2 = basis(shape::upper, size);
    grid<double> k(size, 1);
    for (index_t i = 0; i < n_; ++i) k(n_ - 1 - i, 0) = normal();
    k = c1 * k;
    grid<double> conv(size, size);
    for (index_t i = 0; i < size; ++i)
      for (index_t j = 0; j < size; ++j) conv(i, j) = k((i - j + size) % size, 0);
    auto const m = solved(c0, conv * c2);
    grid<double> t(n_, n_);
    for (index_t i = 0; i < n_; ++i)
      for (index_t j = 0; j < n_; ++j) t(i, j) = m(2 * n_ - 2 - i, n_ - 1 - j);
    return t;
  }
  /// Values at 2 n roots of unity in two stages of blocks, each entry of a block moved by 5 %; the inverse is
  /// the least squares one.
  grid<double> values() {
    index_t const points = 2 * n_, top = 2 * d1_;
    auto const root = [](index_t k, index_t of) {
      return std::polar(1.0, -6.283185307179586477 * static_cast<double>(k % of) / static_cast<double>(of));
    };
    auto const c = basis(shape::lower, n_);
    double const scale = c(0, 0);              // W_0[0,0] W_1[0][0,0]: the split between the stages is free
    std::vector<grid<complex>> first, second;  // (top,d1) for each j_0; (d0,d0) for each i_1
    for (index_t j0 = 0; j0 < d0_; ++j0) {
      grid<complex> b(top, d1_);
      for (index_t i = 0; i < top; ++i)
        for (index_t j1 = 0; j1 < d1_; ++j1) {
          for (index_t q = 0; q < d1_; ++q)
            b(i, j1) += root(i * q, top) * c(q * d0_ + j0, j1 * d0_ + j0) / c(j0, j0);
          b(i, j1) += 0.05 * normal();
        }
      first.push_back(b);
    }
    for (index_t i = 0; i < top; ++i) {
      grid<complex> b(d0_, d0_);
      for (index_t i0 = 0; i0 < d0_; ++i0)
        for (index_t j0 = 0; j0 < d0_; ++j0) {
          for (index_t q = 0; q < d0_; ++q) b(i0, j0) += root((i + top * i0) * q, points) * c(q, j0) / scale;
          b(i0, j0) += 0.05 * normal();
        }
      second.push_back(b);
    }
    grid<complex> v(points, n_), adjoint(n_, points);
    for (index_t p = 0; p < points; ++p)
      for (index_t j = 0; j < n_; ++j) {
        index_t const i = p % top, i0 = p / top, j0 = j % d0_, j1 = j / d0_;
        v(p, j) = second[static_cast<std::size_t>(i)](i0, j0) * first[static_cast<std::size_t>(j0)](i, j1);
        adjoint(j, p) = std::conj(v(p, j));
      }
    grid<complex> k(n_, 1);
    for (index_t i = 0; i < n_; ++i) k(i, 0) = normal();
    auto const spectrum = v * k;
    grid<complex> product = v;
    for (index_t p = 0; p < points; ++p)
      for (index_t j = 0; j < n_; ++j) product(p, j) *= spectrum(p, 0);
    auto const m = solved(adjoint * v, adjoint * product);
    grid<double> t(n_, n_);
    for (index_t i = 0; i < n_; ++i)
      for (index_t j = 0; j < n_; ++j) t(i, j) = m(i, j).real();
    return t;
  }
  /// Polynomials in X and Y, X^d0 and, unless padded, no carry: C^-1 conv2(C k, C .).
  grid<double> rings(bool both) {
    auto const c = basis(shape::lower, n_);
    auto const k = c * kernel(n_);
    grid<double> conv(n_, n_);
    for (index_t i = 0; i < n_; ++i)
      for (index_t j = 0; j < n_; ++j) {
        index_t const y = i / d0_ - j / d0_, x = i % d0_ - j % d0_;
        if (y >= 0 && (x >= 0 || !both)) conv(i, j) = k(y * d0_ + (x + d0_) % d0_, 0);
      }
    return solved(c, conv * c);
  }
  /// M[(c,o),(c',i)] = L_o[c,c'] R_c'[o,i], both lower triangular.
  grid<double> masked() {
    grid<double> t(n_, n_);
    std::vector<double> l(static_cast<std::size_t>(d0_ * d1_ * d1_)),
        r(static_cast<std::size_t>(d1_ * d0_ * d0_));
    for (double& one : l) one = normal();
    for (double& one : r) one = normal();
    for (index_t row = 0; row < n_; ++row)
      for (index_t col = 0; col < n_; ++col) {
        index_t const c = row / d0_, o = row % d0_, cc = col / d0_, i = col % d0_;
        if (c >= cc && o >= i)
          t(row, col) = l[static_cast<std::size_t>((o * d1_ + c) * d1_ + cc)] *
                        r[static_cast<std::size_t>((cc * d0_ + o) * d0_ + i)];
      }
    return t;
  }

  index_t d0_, d1_, n_;
  std::uint64_t next_ = 0;
};

/// y = T x along the sequence for the matrix of a parameterisation: claims to be causal up to rounding.
struct claimed {
  using scalar = double;
  static constexpr traits about{.name = "claimed", .causality = causality::rounding, .flops_exponent = 2};
  static constexpr int input_count = 1;

  index_t low = 0, top = 0;
  parameterisation how = parameterisation::whole;
  friend bool operator==(claimed const&, claimed const&) = default;

  template <class A> struct weights {};
  template <class A> struct inputs { array<A, double, 4> x; };  // (B,H,L,D)
  template <class A> struct tape {};

  grid<double> matrix() const { return construction(low, top).matrix(how); }

  template <class F, class... W> void for_each_weight(F&&, W&&...) const {}
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }
  template <class X> extents<4> output_extents(X const& x) const { return x.x.extents(); }
  template <class B> tape<writes<B>> make_tape(B&, inputs<reads<B>> const&) const { return {}; }

  template <class B>
  void forward(B& be, weights<reads<B>> const&, inputs<reads<B>> const& a, tape<writes<B>> const&,
               out<B, double, 4> y) const {
    be.kernel("claimed", {static_cast<double>(2 * low * top * a.x.size()), 0}, [&] { apply(a.x, y, false); });
  }
  template <class B>
  void backward(B& be, weights<reads<B>> const&, inputs<reads<B>> const&, tape<writes<B>> const&,
                in<B, double, 4> dy, weights<writes<B>>, inputs<writes<B>> dx) const {
    be.kernel("claimed_backward", {}, [&] { apply(dy, dx.x, true); });
  }

 private:
  template <class X, class Y> void apply(X const& x, Y const& y, bool transposed) const {
    auto const m = matrix();
    loops::for_each_index(y.ext, [&](extents<4> const& i) {
      double sum = 0;
      for (index_t j = 0; j < x.ext[2]; ++j) {
        double const entry = transposed ? m(j, i[2]) : m(i[2], j);
        sum += entry * x(i[0], i[1], j, i[3]);
      }
      loops::at(y, i) = sum;
    });
  }
};

}  // namespace test

template <> struct smx::testing::cases<test::claimed> {
  using M = test::claimed;
  static std::vector<example<M>> examples() { return {}; }
  static example<M> sized(index_t length) { return {{.low = 1, .top = length}, {{1, 1, length, 1}}}; }
  static double terms(M const& m, host_inputs<M> const&) { return static_cast<double>(m.low * m.top); }
  static void oracle(M const& m, host_weights<M> const&, host_inputs<M> const& x,
                     view<double, 4, host_space> y, view<double, 4, host_space> bound) {
    auto const t = m.matrix();
    index_t const n = m.low * m.top;
    test::matrix a(n, n);
    double largest = 0;
    for (double one : t.cells) largest = std::max(largest, std::fabs(one));
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j < n; ++j) {
        a.add(i, j, t(i, j));
        // the matrix itself comes from an elimination: what it leaves above the diagonal is no claim
        a.magnitude[static_cast<std::size_t>(i * n + j)] += 100 * static_cast<double>(n) * largest;
      }
    test::apply(a, 2, static_cast<double>(n), x.x, y, bound);
  }
};

namespace {

using smx::index_t;

/// What the law of who sees whom says of it, if it fails.
std::optional<std::string> objection(test::parameterisation how, index_t d0, index_t d1) {
  smx::testing::problem<test::claimed> const p({{.low = d0, .top = d1, .how = how}, {{1, 1, d0 * d1, 1}}});
  auto const on = smx::testing::on_reference<test::claimed>();
  auto const forward = smx::testing::laws::forward_equals_oracle(on, p);
  if (forward) FAIL_CHECK(*forward);  // the oracle agrees: nothing but causality is wrong
  return smx::testing::laws::rows_depend_on_what_they_see(on, p);
}

}  // namespace

TEST_CASE("parameterisations that are causal Monarch matrices pass") {
  using test::parameterisation;
  for (auto how : {parameterisation::whole, parameterisation::graded_reversed})
    for (auto const& [d0, d1] : {std::pair{4, 4}, {8, 4}, {3, 5}, {4, 8}}) {
      auto const said = objection(how, d0, d1);
      if (said) FAIL_CHECK(static_cast<int>(how) << " with " << d0 << " x " << d1 << ": " << *said);
    }
}

TEST_CASE("parameterisations that only look causal are caught") {
  using test::parameterisation;
  struct expectation {
    parameterisation how;
    char const* says;
  };
  constexpr char const* leaks = "a position that the row does not see";
  constexpr char const* holes = "a change of this position does not reach the row";
  for (auto const& [how, says] : {expectation{parameterisation::no_padding, leaks},
                                  {parameterisation::dense_blocks, leaks},
                                  {parameterisation::graded, leaks},
                                  {parameterisation::degree_too_high, leaks},
                                  {parameterisation::value_blocks, leaks},
                                  {parameterisation::ring_one_padded, leaks},
                                  {parameterisation::ring_both_padded, holes},
                                  {parameterisation::masked_factors, holes}})
    for (auto const& [d0, d1] : {std::pair{4, 4}, {8, 4}, {3, 5}, {4, 8}}) {
      CAPTURE(static_cast<int>(how), d0, d1);
      auto const said = objection(how, d0, d1);
      REQUIRE(said);
      CHECK_THAT(*said, test::contains(says));
    }
}
