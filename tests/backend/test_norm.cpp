// SPDX-License-Identifier: Apache-2.0
// Layer and RMS norm: values from the definition in long double, gradients against central differences of it.
#include "../scalars.hpp"
#include "arrays.hpp"

namespace {

using namespace test;
using smx::norm_kind;
using wide = long double;

struct problem {
  norm_kind kind;
  wide epsilon;
  index_t rows, n;
  std::vector<wide> x, gain, bias, dy;

  wide mean(index_t r) const {
    if (kind == norm_kind::rms) return 0;
    wide sum = 0;
    for (index_t j = 0; j < n; ++j) sum += x[static_cast<std::size_t>(r * n + j)];
    return sum / wide(n);
  }
  wide scale(index_t r) const {
    wide square = 0, const_mean = mean(r);
    for (index_t j = 0; j < n; ++j) {
      wide const d = x[static_cast<std::size_t>(r * n + j)] - const_mean;
      square += d * d;
    }
    return 1 / std::sqrt(square / wide(n) + epsilon);
  }
  wide value(index_t r, index_t j) const {
    auto const at = static_cast<std::size_t>(j);
    return (x[static_cast<std::size_t>(r * n + j)] - mean(r)) * scale(r) * gain[at] +
           (bias.empty() ? 0 : bias[at]);
  }
  /// sum of dy times the row
  wide loss(index_t r) const {
    wide sum = 0, m = mean(r), s = scale(r);
    for (index_t j = 0; j < n; ++j) {
      auto const at = static_cast<std::size_t>(j);
      sum += dy[static_cast<std::size_t>(r * n + j)] *
             ((x[static_cast<std::size_t>(r * n + j)] - m) * s * gain[at] + (bias.empty() ? 0 : bias[at]));
    }
    return sum;
  }
};

constexpr index_t lengths[] = {1, 2, 5, 8, 16, 17, 33, 64, 100, 300};

template <class T> std::vector<wide> wide_values(T const& a) {
  auto const v = a.values();
  return {v.begin(), v.end()};
}

TEMPLATE_TEST_CASE("norm: y, mean and scale, with and without bias, any strides", "", TEST_SCALARS) {
  using T = TestType;
  std::uint64_t seed = 1;
  for (norm_kind const kind : {norm_kind::layer, norm_kind::rms})
    for (index_t const n : lengths)
      for (order const how : {order::rows, order::padded, order::shuffled})
        for (bool const biased : {true, false}) {
          extents<4> const e{2, 3, 4, n};
          array<T, 4> x(e, how, ++seed), gain({1, 1, 1, n}, how, ++seed), bias({1, 1, 1, n}, how, ++seed);
          each(e, [&](extents<4> const& i) { x(i) += T(3); });
          T const epsilon = T(1e-5);
          problem const p{kind,
                          epsilon,
                          24,
                          n,
                          wide_values(x),
                          wide_values(gain),
                          biased ? wide_values(bias) : std::vector<wide>(),
                          {}};
          // mean errs by n eps avg|x|, the variance by n eps of itself; the rest are a few roundings
          std::vector<double> y, bound, mean, mean_bound, scale, scale_bound;
          for (index_t r = 0; r < 24; ++r) {
            double const m = double(p.mean(r)), s = double(p.scale(r)), terms = double(n) + 8;
            mean.push_back(m);
            mean_bound.push_back(terms * eps<T> * 4);
            scale.push_back(s);
            double const variance = 1 / (s * s), shift = terms * eps<T> * 4;
            scale_bound.push_back(s * (terms * eps<T> + shift * shift / variance));
            for (index_t j = 0; j < n; ++j) {
              double const g = std::fabs(double(p.gain[static_cast<std::size_t>(j)])),
                           h = (double(p.x[static_cast<std::size_t>(r * n + j)]) - m);
              y.push_back(double(p.value(r, j)));
              bound.push_back(
                  g * (s * mean_bound.back() + std::fabs(h) * (scale_bound.back() + 4 * eps<T> * s)) +
                  2 * eps<T> * (1 + g * s * 4));
            }
          }
          auto const none = view<T const, 4, host_space>();
          on_each_backend(
              [&](auto& be) {
                array<T, 4> to(e, how, 7), m({2, 3, 4, 1}, how, 8), s({2, 3, 4, 1}, how, 9);
                be.norm(kind, epsilon, x.in(), gain.in(), biased ? bias.in() : none, to.out(), m.out(),
                        s.out());
                CHECK((m.intact() && s.intact()));
                CHECK(agree(m.values(), mean, mean_bound));
                CHECK(agree(s.values(), scale, scale_bound));
                return to;
              },
              [&](auto const& got) { CHECK(agree(got.values(), y, bound)); });
          on_each_backend(
              [&](auto& be) {
                auto to = x;
                array<T, 4> m({2, 3, 4, 1}, how, 8), s({2, 3, 4, 1}, how, 9);
                be.norm(kind, epsilon, smx::as_input(to.out()), gain.in(), biased ? bias.in() : none,
                        to.out(), m.out(), s.out());
                return to;
              },
              [&](auto const& got) { CHECK(agree(got.values(), y, bound)); });
        }
}

TEMPLATE_TEST_CASE("norm: constant rows and zeros stay finite; NaN fills its row only", "", TEST_SCALARS) {
  using T = TestType;
  array<T, 4> x({1, 1, 4, 20}, order::rows, 50), one({1, 1, 1, 20}, order::rows, 51);
  one.fill(T(1));
  for (index_t j = 0; j < 20; ++j) x({0, 0, 0, j}) = T(2.5), x({0, 0, 1, j}) = T(0);
  x({0, 0, 2, 11}) = std::numeric_limits<T>::quiet_NaN();
  for (norm_kind const kind : {norm_kind::layer, norm_kind::rms})
    on_each_backend(
        [&](auto& be) {
          array<T, 4> y({1, 1, 4, 20}, order::rows, 52), m({1, 1, 4, 1}, order::rows, 53),
              s({1, 1, 4, 1}, order::rows, 54);
          be.norm(kind, T(1e-5), x.in(), one.in(), view<T const, 4, host_space>(), y.out(), m.out(), s.out());
          return y;
        },
        [&](auto const& got) {
          auto const v = got.values();
          double const first = kind == norm_kind::layer ? 0.0 : 2.5 / std::sqrt(6.25 + 1e-5);
          CHECK(std::fabs(v[0] - first) < 8 * eps<T>);
          CHECK(v[20] == 0);
          CHECK((std::isnan(v[40]) && std::isnan(v[59])));
          CHECK(std::isfinite(v[60]));
        });
}

TEMPLATE_TEST_CASE("norm_backward: dx, dgain and dbias are the derivatives of sum(dy norm(x))", "",
                   TEST_SCALARS) {
  using T = TestType;
  std::uint64_t seed = 100;
  for (norm_kind const kind : {norm_kind::layer, norm_kind::rms})
    for (index_t const n : {1, 2, 7, 16, 33, 50})
      for (order const how : {order::rows, order::shuffled})
        for (bool const biased : {true, false}) {
          extents<4> const e{2, 1, 3, n}, rows{2, 1, 3, 1}, channels{1, 1, 1, n};
          array<T, 4> x(e, how, ++seed), dy(e, how, ++seed), gain(channels, how, ++seed),
              dgain(channels, how, ++seed), dbias(channels, how, ++seed);
          wide const epsilon = 0.01L;
          problem p{kind, epsilon, 6, n, wide_values(x), wide_values(gain), {}, wide_values(dy)};

          // central differences err by h^2 f''' / 6 + 1e-19 / h: 1e-10 with h = 1e-5 and f''' below 1 /
          // epsilon^(3/2)
          wide const h = 1e-5L;
          std::vector<double> dx, dx_bound, dg = dgain.values(), db = dbias.values(), dg_bound(dg.size()),
                                            db_bound(dg.size());
          array<T, 4> mean(rows, how, 1), scale(rows, how, 2);
          for (index_t r = 0; r < 6; ++r) {
            mean({r / 3, 0, r % 3, 0}) = static_cast<T>(p.mean(r));
            scale({r / 3, 0, r % 3, 0}) = static_cast<T>(p.scale(r));
            double const s = double(p.scale(r)), m = double(p.mean(r));
            double average = 0, product = 0;
            for (index_t j = 0; j < n; ++j) {
              auto const at = static_cast<std::size_t>(r * n + j), c = static_cast<std::size_t>(j);
              double const g = std::fabs(double(p.dy[at] * p.gain[c])),
                           centered = std::fabs(double(p.x[at]) - m) * s;
              average += g / double(n);
              product += g * centered / double(n);
            }
            for (index_t j = 0; j < n; ++j) {
              auto const at = static_cast<std::size_t>(r * n + j), c = static_cast<std::size_t>(j);
              wide const kept = p.x[at];
              p.x[at] = kept + h;
              wide const up = p.loss(r);
              p.x[at] = kept - h;
              wide const down = p.loss(r);
              p.x[at] = kept;
              double const hat = (double(kept) - m) * s,
                           size = std::fabs(double(kept)) * s + std::fabs(m) * s;
              dx.push_back(double((up - down) / (2 * h)));
              dx_bound.push_back(1e-7 + (double(n) + 16) * eps<T> * s *
                                            (std::fabs(double(p.dy[at] * p.gain[c])) + average +
                                             (std::fabs(hat) + size) * (product + average * size)));
              dg[c] += double(p.dy[at]) * hat;
              db[c] += double(p.dy[at]);
              dg_bound[c] += 16 * eps<T> * (1 + size);
              db_bound[c] += 16 * eps<T>;
            }
          }
          auto const run = [&](auto& be, auto& g, auto& b) {
            array<T, 4> to(e, how, 3);
            be.norm_backward(kind, x.in(), gain.in(), mean.in(), scale.in(), dy.in(), to.out(), g.out(),
                             biased ? b.out() : view<T, 4, host_space>());
            return to;
          };
          on_each_backend(
              [&](auto& be) {
                auto g = dgain, b = dbias;
                return run(be, g, b);
              },
              [&](auto const& got) { CHECK(agree(got.values(), dx, dx_bound)); });
          on_each_backend(
              [&](auto& be) {
                auto g = dgain, b = dbias;
                run(be, g, b);
                return g;
              },
              [&](auto const& got) { CHECK(agree(got.values(), dg, dg_bound)); });
          on_each_backend(
              [&](auto& be) {
                auto g = dgain, b = dbias;
                run(be, g, b);
                return b;
              },
              [&](auto const& got) { CHECK(agree(got.values(), biased ? db : dbias.values(), db_bound)); });
          on_each_backend(  // dx in the place of dy
              [&](auto& be) {
                auto g = dgain, b = dbias, to = dy;
                be.norm_backward(kind, x.in(), gain.in(), mean.in(), scale.in(), smx::as_input(to.out()),
                                 to.out(), g.out(), view<T, 4, host_space>());
                return to;
              },
              [&](auto const& got) { CHECK(agree(got.values(), dx, dx_bound)); });
        }
}

TEST_CASE("norm_backward: many rows give the same bits for any number of threads") {
  extents<4> const e{3, 2, 400, 96};
  array<float, 4> x(e, order::rows, 1), dy(e, order::rows, 2), gain({1, 1, 1, 96}, order::rows, 3);
  std::vector<double> dg(96, 0.0), bound(96, 0.0);
  array<float, 4> mean({3, 2, 400, 1}, order::rows, 4), scale({3, 2, 400, 1}, order::rows, 5);
  each(e, [&](extents<4> const& i) {
    extents<4> const row{i[0], i[1], i[2], 0};
    double const term = double(dy(i)) * (double(x(i)) - double(mean(row))) * double(scale(row));
    dg[static_cast<std::size_t>(i[3])] += term;
    bound[static_cast<std::size_t>(i[3])] += 2400 * eps<float> * std::fabs(term) + eps<float>;
  });
  on_each_backend(
      [&](auto& be) {
        array<float, 4> dx(e, order::rows, 6), dgain({1, 1, 1, 96}, order::rows, 7),
            dbias({1, 1, 1, 96}, order::rows, 8);
        dgain.fill(0), dbias.fill(0);
        be.norm_backward(norm_kind::layer, x.in(), gain.in(), mean.in(), scale.in(), dy.in(), dx.out(),
                         dgain.out(), dbias.out());
        return dgain;
      },
      [&](auto const& got) { CHECK(agree(got.values(), dg, bound)); });
}

TEST_CASE("wrong extents of norm throw on every backend and name the argument") {
  auto const rejects = [](auto& be) {
    array<float, 4> x({2, 1, 3, 8}, order::rows, 1), c({1, 1, 1, 8}, order::rows, 2),
        r({2, 1, 3, 1}, order::rows, 3), y = x;
    auto const norm = [&](auto gain, auto bias, auto to, auto mean, auto scale) {
      be.norm(norm_kind::layer, 1e-5f, x.in(), gain, bias, to, mean, scale);
    };
    CHECK_NOTHROW(norm(c.in(), c.in(), y.out(), r.out(), r.out()));
    CHECK_THROWS_WITH(norm(slice(c.in(), 3, 0, 7), c.in(), y.out(), r.out(), r.out()),
                      contains("norm: gain"));
    CHECK_THROWS_WITH(norm(c.in(), slice(c.in(), 3, 0, 7), y.out(), r.out(), r.out()),
                      contains("norm: bias"));
    CHECK_THROWS_WITH(norm(c.in(), c.in(), slice(y.out(), 0, 0, 1), r.out(), r.out()), contains("norm: y"));
    CHECK_THROWS_WITH(norm(c.in(), c.in(), y.out(), slice(r.out(), 0, 0, 1), r.out()),
                      contains("norm: mean"));
    CHECK_THROWS_WITH(norm(c.in(), c.in(), y.out(), r.out(), slice(r.out(), 2, 0, 1)),
                      contains("norm: scale"));
    auto const backward = [&](auto gain, auto mean, auto scale, auto dy, auto dx, auto dgain, auto dbias) {
      be.norm_backward(norm_kind::layer, x.in(), gain, mean, scale, dy, dx, dgain, dbias);
    };
    CHECK_NOTHROW(backward(c.in(), r.in(), r.in(), x.in(), y.out(), c.out(), c.out()));
    CHECK_THROWS_WITH(backward(slice(c.in(), 3, 0, 1), r.in(), r.in(), x.in(), y.out(), c.out(), c.out()),
                      contains("norm_backward: gain"));
    CHECK_THROWS_WITH(backward(c.in(), slice(r.in(), 2, 0, 1), r.in(), x.in(), y.out(), c.out(), c.out()),
                      contains("norm_backward: mean"));
    CHECK_THROWS_WITH(backward(c.in(), r.in(), slice(r.in(), 2, 0, 1), x.in(), y.out(), c.out(), c.out()),
                      contains("norm_backward: scale"));
    CHECK_THROWS_WITH(backward(c.in(), r.in(), r.in(), slice(x.in(), 0, 0, 1), y.out(), c.out(), c.out()),
                      contains("norm_backward: dy"));
    CHECK_THROWS_WITH(backward(c.in(), r.in(), r.in(), x.in(), slice(y.out(), 0, 0, 1), c.out(), c.out()),
                      contains("norm_backward: dx"));
    CHECK_THROWS_WITH(backward(c.in(), r.in(), r.in(), x.in(), y.out(), slice(c.out(), 3, 0, 1), c.out()),
                      contains("norm_backward: dgain"));
    CHECK_THROWS_WITH(backward(c.in(), r.in(), r.in(), x.in(), y.out(), c.out(), slice(c.out(), 3, 0, 1)),
                      contains("norm_backward: dbias"));
  };
  smx::reference_backend reference;
  rejects(reference);
  smx::cpu cpu(2);
  rejects(cpu);
  smx::traced<smx::cpu> traced(2);
  rejects(traced);
}

}  // namespace
