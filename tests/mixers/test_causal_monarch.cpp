// SPDX-License-Identifier: Apache-2.0
// What causal_monarch is: the polynomial theorem it comes from, the convolution inside it, who reaches whom,
// how well its matrices are conditioned, what a step costs, and what is refused.
#include <smx/mixers/causal_monarch.hpp>

#include <complex>

#include <smx/backend/cpu.hpp>
#include <smx/backend/reference.hpp>
#include <smx/mixers/materialize.hpp>
#include <smx/mixers/stream.hpp>

#include "tests/catch.hpp"
#include "tests/conformance/cases/triangular.hpp"

namespace {

using namespace smx;
using smx::testing::numbers;
using smx::testing::values;
using complex = std::complex<double>;

/// Random blocks as in the notes on conditioning: off the diagonal N(0, sigma^2 / d), on it 1 +- 0.2 N(0,1),
/// kept positive.
template <class M, class B>
void generic_weights(B& be, M const& m, parameters<M, B>& w, double sigma, std::uint64_t seed) {
  std::uint64_t stream = 0;
  m.for_each_weight(
      [&](auto const& info, auto const& to) {
        random_stream const from{seed, stream++};
        std::uint64_t n = 0;
        loops::for_each_index(to.ext, [&](auto const& i) {
          double const z = from.normal(n++);
          if constexpr (std::remove_cvref_t<decltype(i)>::rank() == 4)
            loops::at(to, i) = i[2] == i[3] ? std::log(std::max(0.2, 1 + 0.2 * z))
                                            : sigma * z / std::sqrt(static_cast<double>(info.ext[3]));
          else
            loops::at(to, i) = z;
        });
      },
      w.write());
  be.synchronize();
}

std::vector<monarch_digits> const radices = {{2, 4},    {4, 4},    {5, 3},    {3, 5},       {4, 8},
                                             {2, 2, 2}, {3, 4, 2}, {2, 3, 5}, {4, 2, 2, 2}, {2, 3, 2, 3}};

template <class M> M with(monarch_digits const& factors) {
  return {.channels = 1, .length = padded_length(factors), .order = factors.size(), .factors = factors};
}

/// The coefficients of q_j by multiplying its polynomials, whatever their degrees.
numbers polynomial(test::triangular_blocks const& c, index_t j) {
  numbers q{1};
  for (std::size_t a = 0; a < c.order(); ++a) {
    test::matrix const& w = c.block[a][static_cast<std::size_t>(j % c.low[a])];
    numbers next(q.size() + static_cast<std::size_t>((w.rows - 1) * c.low[a]));
    for (index_t power = 0; power < w.rows; ++power)
      for (std::size_t i = 0; i < q.size(); ++i)
        next[i + static_cast<std::size_t>(power * c.low[a])] +=
            q[i] * test::triangular_blocks::at(w, power, c.part(a, j));
    q = next;
  }
  return q;
}
complex value(numbers const& q, complex z) {
  complex sum = 0;
  for (std::size_t i = q.size(); i-- > 0;) sum = sum * z + q[i];
  return sum;
}

}  // namespace

TEST_CASE("causal_monarch is the Monarch form: values at 2 n roots of unity, multiplied, and back",
          "[mixers][causal_monarch]") {
  reference_backend be;
  using M = causal_monarch<double>;
  for (auto const& f : radices) {
    M const m = with<M>(f);
    index_t const n = m.length, points = 2 * n;
    parameters<M, reference_backend> w(be, m);
    generic_weights(be, m, w, 0.7, 5);
    auto const x = random_normal<double>(be, {1, 1, n, 1}, 2);
    auto const y = forward(be, m, w, x);

    test::triangular_blocks const c0(f, w.read().output, 0), c1(f, w.read().kernel, 0),
        c2(f, w.read().input, 0);
    std::vector<complex> product(static_cast<std::size_t>(points));
    for (index_t p = 0; p < points; ++p) {
      complex const z =
          std::polar(1.0, -6.283185307179586477 * static_cast<double>(p) / static_cast<double>(points));
      complex k = 0, u = 0;
      for (index_t j = 0; j < n; ++j) {
        k += w.read().k(0, j) * value(polynomial(c1, j), z);
        u += x(0, 0, j, 0) * value(polynomial(c2, j), z);
      }
      product[static_cast<std::size_t>(p)] = k * u;
    }
    numbers h, q0(static_cast<std::size_t>(n * n));
    for (index_t i = 0; i < n; ++i) {
      complex sum = 0;
      for (index_t p = 0; p < points; ++p)
        sum += product[static_cast<std::size_t>(p)] *
               std::polar(1.0, 6.283185307179586477 * static_cast<double>(p * i % points) /
                                   static_cast<double>(points));
      h.push_back(sum.real() / static_cast<double>(points));
    }
    test::matrix basis(n, n);
    for (index_t j = 0; j < n; ++j) {
      numbers const q = polynomial(c0, j);
      REQUIRE(static_cast<index_t>(q.size()) <= n);
      for (std::size_t i = 0; i < q.size(); ++i) basis.add(static_cast<index_t>(i), j, q[i]);
    }
    numbers const want = test::substituted(basis, h);
    double const scale = test::norm2(want);
    for (index_t i = 0; i < n; ++i)
      CHECK(std::fabs(y(0, 0, i, 0) - want[static_cast<std::size_t>(i)]) <= 1e-11 * scale);
  }
}

TEMPLATE_TEST_CASE("with identities causal_monarch is the causal convolution, bit for bit",
                   "[mixers][causal_monarch]", causal_monarch<double>,
                   (causal_monarch<double, evaluation::exact>), causal_monarch<float>) {
  using M = TestType;
  using T = typename M::scalar;
  auto const compare = [](auto& be, M const& m) {
    using B = std::remove_reference_t<decltype(be)>;
    parameters<M, B> w(be, m);  // zeros
    auto const k = random_normal<T>(be, {m.channels, m.length}, 1);
    be.copy(k.cview(), w.write().k);
    auto const x = random_normal<T>(be, {2, 1, m.length, m.channels}, 2),
               dy = random_normal<T>(be, {2, 1, m.length, m.channels}, 3);
    typename M::convolution const conv{.channels = m.channels, .taps = m.length, .skip = false};
    parameters<typename M::convolution, B> cw(be, conv);
    be.copy(k.cview(), cw.write().k);
    CHECK(values(forward(be, m, w, x).cview()) == values(forward(be, conv, cw, x).cview()));
    auto const g = gradients(be, m, w, x, dy);
    auto const cg = gradients(be, conv, cw, x, dy);
    CHECK(values(g.x.cview()) == values(cg.x.x.cview()));
    CHECK(values(g.w.read().k) == values(cg.w.read().k));
  };
  for (M const& m : {M{.channels = 3, .length = 40}, M{.channels = 2, .length = 100, .order = 3},
                     M{.channels = 2, .length = 61, .order = 4, .direct_kernel = true}}) {
    reference_backend reference;
    compare(reference, m);
    cpu be(2);
    compare(be, m);
  }
}

TEST_CASE("causal_monarch reaches every earlier position and no later one", "[mixers][causal_monarch]") {
  cpu be(1);
  for (auto const& f : radices) {
    auto const leak_of = [&]<class M>(M const& m) {
      parameters<M, cpu> w(be, m);
      generic_weights(be, m, w, 0.7, 9);
      auto const t = materialize(be, m, w, m.length);
      double top = 0, leak = 0, off = 0, all = 0;
      for (double one : values(t.cview())) top = std::max(top, std::fabs(one));
      index_t holes = 0;
      for (index_t lag = 0; lag < m.length; ++lag) {
        double mean = 0;
        for (index_t j = 0; j + lag < m.length; ++j)
          mean += t(0, j + lag, j) / static_cast<double>(m.length - lag);
        for (index_t j = 0; j + lag < m.length; ++j) {
          double const entry = t(0, j + lag, j);
          holes += std::fabs(entry) <= 1e-9 * top;
          off += (entry - mean) * (entry - mean), all += entry * entry;
          if (lag > 0) leak = std::max(leak, std::fabs(t(0, j, j + lag)));
        }
      }
      CHECK(holes == 0);
      CHECK(std::sqrt(off / all) > 0.2);  // no function of i - j
      return leak;
    };
    CHECK(leak_of(with<causal_monarch<double, evaluation::exact>>(f)) == 0);

    // the transform: what the header allows, column by column a unit vector of norm ||C2 e_j||
    using M = causal_monarch<double>;
    M const m = with<M>(f);
    double const leak = leak_of(m);
    parameters<M, cpu> w(be, m);
    generic_weights(be, m, w, 0.7, 9);
    test::triangular_blocks const c0(f, w.read().output, 0), c1(f, w.read().kernel, 0),
        c2(f, w.read().input, 0);
    auto const dense0 = c0.dense(m.length), dense2 = c2.dense(m.length);
    numbers const k = test::times(c1.dense(m.length), values(fix_axis(w.read().k, 0, 0)));
    double column = 0, row = 0;
    numbers sums(static_cast<std::size_t>(m.length));
    for (index_t j = 0; j < m.length; ++j) {
      numbers unit(static_cast<std::size_t>(m.length));
      unit[static_cast<std::size_t>(j)] = 1;
      column = std::max(column, test::norm2(test::times(dense2, unit)));
      numbers const inverse = test::substituted(dense0, unit);
      for (std::size_t i = 0; i < sums.size(); ++i) row = std::max(row, sums[i] += std::fabs(inverse[i]));
    }
    CHECK(leak <= M::convolution::rounding_bound(m.length) * test::norm1(k) * column * row);
  }
}

TEST_CASE("triangular Monarch matrices are conditioned as derived, and well at the start",
          "[mixers][causal_monarch]") {
  reference_backend be;
  using M = causal_monarch<double>;
  // the largest of five draws; these are random, so to a factor of 3 (sigma = 2: of 10)
  auto const condition = [&](M const& m, parameters<M, reference_backend> const& w) {
    test::triangular_blocks const c(m.digits(), w.read().input, 0);
    auto const dense = c.dense(m.length);
    auto turned = dense;
    for (index_t i = 0; i < m.length; ++i)
      for (index_t j = 0; j < m.length; ++j)
        turned.value[static_cast<std::size_t>(i * m.length + j)] = test::triangular_blocks::at(dense, j, i);
    auto const back = [&](numbers h) {  // C^-T h
      for (index_t i = m.length; i-- > 0;) {
        auto const r = static_cast<std::size_t>(i);
        for (index_t j = i + 1; j < m.length; ++j)
          h[r] -= test::triangular_blocks::at(turned, i, j) * h[static_cast<std::size_t>(j)];
        h[r] /= test::triangular_blocks::at(turned, i, i);
      }
      return h;
    };
    auto const largest = [&](auto const& apply) {  // singular value, by power iteration
      numbers v(static_cast<std::size_t>(m.length));
      for (std::size_t i = 0; i < v.size(); ++i) v[i] = random_stream{3, 3}.normal(i);
      double size = 0;
      for (int n = 0; n < 100; ++n) {
        size = test::norm2(v);
        for (double& one : v) one /= size;
        v = apply(v);
      }
      return std::sqrt(test::norm2(v));
    };
    return largest([&](numbers const& v) { return test::times(turned, test::times(dense, v)); }) *
           largest([&](numbers const& v) { return test::substituted(dense, back(v)); });
  };
  for (auto const& [sigma, figure, factor] :
       {std::tuple{0.3, 5.0, 3.0}, {0.7, 15.0, 3.0}, {1.0, 40.0, 3.0}, {2.0, 850.0, 10.0}}) {
    double worst = 0;
    for (std::uint64_t draw = 0; draw < 5; ++draw) {
      M const m{.channels = 1, .length = 64};
      parameters<M, reference_backend> w(be, m);
      generic_weights(be, m, w, sigma, draw);
      worst = std::max(worst, condition(m, w));
    }
    INFO("sigma " << sigma);
    CHECK(worst <= factor * figure);
    CHECK(worst >= figure / factor);
  }
  for (int order : {2, 3, 4}) {
    M const m{.channels = 1, .length = 256, .order = order};
    CHECK(condition(m, initialize(be, m, 1)) < 3);
  }
}

TEST_CASE("a step of C2 or C0^-1 costs the sum of the radices", "[mixers][causal_monarch]") {
  for (int order : {2, 3, 4}) {
    causal_monarch<float> const m{.channels = 8, .length = 4096, .order = order};
    monarch_digits const f = m.digits();
    triangular_monarch<float, meta_space> const c(f, m.length);
    triangular_monarch<float, meta_space>::blocks_in w;
    double radices_sum = 0;
    index_t s = 1;
    for (int a = 0; a < order; s *= f[order - 1 - a], ++a) {
      index_t const d = f[order - 1 - a];
      w.of[a] = {nullptr, {1, s, d, d}};
      radices_sum += static_cast<double>(d);
    }
    view<float, 4, meta_space> const x(nullptr, {1, 1, 1, 8}), rows(nullptr, {1, 1, c.history_rows(), 8});
    for (bool solve : {false, true}) {
      plan_backend<> be;
      auto frame = be.scope();
      if (solve)
        c.solve_step(be, w, m.length - 1, x, rows, x);
      else
        c.product_step(be, w, m.length - 1, x, rows, x);
      CHECK(be.result().flops <= 2 * 8 * radices_sum);
      CHECK(be.result().flops >= 8 * radices_sum);
    }
  }
}

TEST_CASE("causal_monarch refuses what is no causal Monarch map", "[mixers][causal_monarch]") {
  cpu be(1);
  using M = causal_monarch<float>;
  auto const start = [&](M const& m) { initialize(be, m, 1); };
  CHECK_THROWS_WITH(start({.length = 8}),
                    test::contains("causal_monarch: channels: expected at least 1, got 0"));
  CHECK_THROWS_WITH(start({.channels = 1}),
                    test::contains("causal_monarch: length: expected at least 1, got 0"));
  for (int order : {0, 1, 5})
    CHECK_THROWS_WITH(start({.channels = 1, .length = 8, .order = order}),
                      test::contains("causal_monarch: order: expected 2, 3 or 4"));
  for (index_t groups : {0, 4, -1})
    CHECK_THROWS_WITH(start({.channels = 6, .length = 8, .groups = groups}),
                      test::contains("causal_monarch: groups: expected a divisor of channels"));
  CHECK_THROWS_WITH(start({.channels = 1, .length = 8, .factors = {2, 2, 2}}),
                    test::contains("causal_monarch: factors: expected as many factors as the order, got 3"));
  for (monarch_digits const& f :
       {monarch_digits{2, 3}, monarch_digits{4, 4}, monarch_digits{0, 8}, monarch_digits{-2, -4}})
    CHECK_THROWS_WITH(start({.channels = 1, .length = 8, .factors = f}), test::contains("factor"));

  M const m{.channels = 2, .length = 8};
  auto const w = initialize(be, m, 1);
  auto const longer = random_normal<float>(be, {1, 1, 9, 2}, 2);
  CHECK_THROWS_WITH(forward(be, m, w, longer),
                    test::contains("causal_monarch: x: expected no more positions than length, got 9"));

  // a stream ends at the length, whatever its capacity; a refused call leaves the state as it was
  stream s(be, m, w, 100), other(be, m, w, 100);
  auto const rows = [&](index_t first, index_t n) { return slice(longer.cview(), 2, first, n); };
  s.prefill(rows(0, 5));
  other.prefill(rows(0, 5));
  CHECK_THROWS_WITH(s.prefill(rows(5, 4)), test::contains("stream: capacity: expected room"));
  for (index_t t = 5; t < 8; ++t)
    CHECK(values(s.step(rows(t, 1)).cview()) == values(other.step(rows(t, 1)).cview()));
  CHECK_THROWS_WITH(s.step(rows(8, 1)), test::contains("stream: capacity: expected room"));
  auto const two = random_normal<float>(be, {2, 1, 1, 2}, 3);
  stream fresh(be, m, w, 8);
  fresh.step(rows(0, 1));
  CHECK_THROWS_WITH(fresh.step(two), test::contains("causal_monarch: x: expected extents (1, 1, *, 2)"));
}

TEST_CASE("blocks from outside need positive diagonals", "[mixers][causal_monarch]") {
  tensor<double, 4> blocks({1, 2, 3, 3}), parameters_of({1, 2, 3, 3});
  loops::for_each_index(blocks.extents(), [&](extents<4> const& i) {
    blocks(i[0], i[1], i[2], i[3]) =
        i[2] == i[3] ? 2 + static_cast<double>(i[1]) : 0.5 * static_cast<double>(i[2]);
  });
  triangular_parameters<double>(blocks.cview(), parameters_of.view());
  CHECK(parameters_of(0, 1, 2, 2) == std::log(3.0));
  CHECK(parameters_of(0, 1, 2, 1) == 1.0);
  CHECK(parameters_of(0, 1, 1, 2) == 0.0);
  numbers const before = values(parameters_of.cview());
  for (double bad :
       {0.0, -1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    blocks(0, 1, 1, 1) = bad;
    CHECK_THROWS_WITH(triangular_parameters<double>(blocks.cview(), parameters_of.view()),
                      test::contains("triangular_parameters: blocks: expected positive numbers on every "
                                     "diagonal; block and row, got 4"));
    CHECK(values(parameters_of.cview()) == before);
  }
  tensor<double, 4> wide({1, 2, 3, 4});
  CHECK_THROWS_WITH(triangular_parameters<double>(wide.cview(), parameters_of.view()),
                    test::contains("blocks"));
}
