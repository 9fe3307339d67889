// SPDX-License-Identifier: Apache-2.0
// reduce and softmax against sums in double precision written from their definitions.
#include "../scalars.hpp"
#include "arrays.hpp"

namespace {

using namespace test;
using smx::reduction;
using smx::score_origin;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr order orders[] = {order::rows, order::padded, order::shuffled};

/// (2,3,rows,n) for n on both sides of a vector, of several vectors and of a task.
constexpr index_t lengths[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 100, 257, 1000};

TEMPLATE_TEST_CASE("reduce: sums with beta, any strides", "", TEST_SCALARS) {
  using T = TestType;
  std::uint64_t seed = 1;
  for (index_t const n : lengths)
    for (order const how : orders)
      for (T const beta : {T(0), T(1), T(-0.5)}) {
        array<T, 4> const x({2, 3, 5, n}, how, ++seed);
        array<T, 4> y({2, 3, 5, 1}, how, ++seed);
        if (beta == T(0)) y.fill(std::numeric_limits<T>::quiet_NaN());  // must not be read
        std::vector<double> exact, bound;
        auto const values = x.values();
        std::size_t at = 0;
        each(y.ext(), [&](extents<4> const& i) {
          double sum = beta == T(0) ? 0.0 : double(beta) * double(y(i)), magnitude = std::fabs(sum);
          for (index_t l = 0; l < n; ++l) {
            sum += values[at];
            magnitude += std::fabs(values[at++]);
          }
          exact.push_back(sum);
          bound.push_back((double(n) + 2) * eps<T> * magnitude);
        });
        on_each_backend(
            [&](auto& be) {
              auto to = y;
              be.reduce(reduction::sum, x.in(), beta, to.out());
              return to;
            },
            [&](auto const& got) { CHECK(agree(got.values(), exact, bound)); });
      }
}

TEMPLATE_TEST_CASE("reduce: maxima are exact; NaN wins, -inf and negative zeros are ordinary", "",
                   TEST_SCALARS) {
  using T = TestType;
  std::uint64_t seed = 1000;
  numbers random(3);
  for (index_t const n : lengths)
    for (order const how : orders) {
      array<T, 4> x({2, 3, 7, n}, how, ++seed);
      for (index_t r = 0; r < 7; ++r) {
        index_t const at = random.below(n);
        if (r == 1) x({1, 2, r, at}) = std::numeric_limits<T>::quiet_NaN();
        if (r == 2) x({1, 2, r, at}) = -std::numeric_limits<T>::infinity();
        if (r == 3) x({1, 2, r, at}) = std::numeric_limits<T>::infinity();
        for (index_t l = 0; r == 4 && l < n; ++l) x({1, 2, r, l}) = -std::numeric_limits<T>::infinity();
      }
      auto const values = x.values();
      std::vector<double> exact;
      for (std::size_t row = 0; row < 42; ++row) {
        double top = -infinity;
        for (std::size_t l = 0; l < static_cast<std::size_t>(n); ++l) {
          double const v = values[row * static_cast<std::size_t>(n) + l];
          if (v > top || std::isnan(v)) top = v;
          if (std::isnan(v)) break;
        }
        exact.push_back(top);
      }
      on_each_backend(
          [&](auto& be) {
            array<T, 4> y({2, 3, 7, 1}, how, 5);
            be.reduce(reduction::max, x.in(), T(0), y.out());
            return y;
          },
          [&](auto const& got) { CHECK(agree(got.values(), exact, std::vector<double>(42, 0.0))); });
    }
}

TEMPLATE_TEST_CASE("reduce down contiguous columns: the sums and maxima of the transposed array", "",
                   TEST_SCALARS) {
  using T = TestType;
  std::uint64_t seed = 1500;
  for (index_t const rows : {2, 5, 300})
    for (index_t const columns : {1, 3, 16, 31, 64, 65, 200}) {
      array<T, 4> x({2, 2, rows, columns}, order::padded, ++seed);
      if (columns > 2) x({1, 1, rows / 2, 2}) = std::numeric_limits<T>::quiet_NaN();
      if (columns > 1) x({1, 0, rows - 1, 1}) = -std::numeric_limits<T>::infinity();
      auto const turned = swap_axes(x.in(), 2, 3);  // (2,2,columns,rows)
      array<T, 4> const y({2, 2, columns, 1}, order::shuffled, ++seed);
      std::vector<double> sums, maxima, bound, none(static_cast<std::size_t>(4 * columns), 0.0);
      each(y.ext(), [&](extents<4> const& i) {
        double sum = 0.5 * double(entry(y.in(), i)), magnitude = std::fabs(sum), top = -infinity;
        for (index_t r = 0; r < rows; ++r) {
          double const v = double(x({i[0], i[1], r, i[2]}));
          sum += v;
          magnitude += std::isinf(v) ? 0 : std::fabs(v);
          top = std::isnan(v) || std::isnan(top) ? NAN : std::max(top, v);
        }
        sums.push_back(sum);
        maxima.push_back(top);
        bound.push_back((double(rows) + 2) * eps<T> * magnitude);
      });
      on_each_backend(
          [&](auto& be) {
            auto to = y;
            be.reduce(reduction::sum, turned, T(0.5), to.out());
            return to;
          },
          [&](auto const& got) { CHECK(agree(got.values(), sums, bound)); });
      on_each_backend(
          [&](auto& be) {
            auto to = y;
            be.reduce(reduction::max, turned, T(0.5), to.out());
            return to;
          },
          [&](auto const& got) { CHECK(agree(got.values(), maxima, none)); });
    }
}

/// Depends on batch, head, row and key, each in another way.
struct patterned_mask {
  static constexpr bool causal = false;
  friend constexpr bool operator==(patterned_mask const&, patterned_mask const&) = default;
  bool allow(index_t b, index_t h, index_t i, index_t j) const { return (b + 2 * h + 3 * i + j) % 4 != 0; }
  smx::tile_class tile(index_t, index_t, smx::index_range, smx::index_range) const {
    return smx::tile_class::partial;
  }
  smx::index_range keys(index_t, index_t, smx::index_range, index_t count) const { return {0, count}; }
};

/// The keys i - 3 to i: rows see nothing before their range.
struct band_mask {
  static constexpr bool causal = true;
  friend constexpr bool operator==(band_mask const&, band_mask const&) = default;
  bool allow(index_t, index_t, index_t i, index_t j) const { return j <= i && j >= i - 3; }
  smx::tile_class tile(index_t, index_t, smx::index_range rows, smx::index_range keys) const {
    bool const full = keys.last - 1 <= rows.first && keys.first >= rows.last - 4;
    return full ? smx::tile_class::full : smx::tile_class::partial;
  }
  smx::index_range keys(index_t, index_t, smx::index_range rows, index_t count) const {
    return {std::max(index_t(0), rows.first - 3), std::min(count, rows.last)};
  }
};

static_assert(smx::Mask<patterned_mask> && patterned_mask{} == patterned_mask{});
static_assert(smx::Mask<band_mask> && band_mask{} == band_mask{});

template <class T> struct soft { std::vector<double> y, lse, y_bound, lse_bound; };

/// exp(x - lse) where allowed. |x| is at most X: exp errs by its own ulp and by eps |x - top| of its
/// argument, sums of n terms by n eps; entries below the smallest normal number may be 0.
template <class T, class M> soft<T> softmax_of(M const& mask, score_origin const& o, array<T, 4> const& x) {
  soft<T> s;
  extents<4> const e = x.ext();
  double const n = double(e[3]);
  each(extents<3>{e[0], e[1], e[2]}, [&](extents<3> const& i) {
    std::vector<long double> row(static_cast<std::size_t>(e[3]));
    long double top = -infinity, sum = 0;
    for (index_t j = 0; j < e[3]; ++j) {
      bool const seen = mask.allow(o.batch + i[0], o.head + i[1], o.row + i[2], o.key + j);
      row[static_cast<std::size_t>(j)] = seen ? static_cast<long double>(entry(x.in(), {i[0], i[1], i[2], j}))
                                              : -std::numeric_limits<long double>::infinity();
      if (seen)
        top = std::isnan(row[static_cast<std::size_t>(j)]) || std::isnan(top)
                  ? NAN
                  : std::max(top, row[static_cast<std::size_t>(j)]);
    }
    bool const none = std::isinf(top) && top < 0;
    for (long double const v : row) sum += none ? 0 : std::exp(v - top);
    for (index_t j = 0; j < e[3]; ++j) {
      bool const seen = mask.allow(o.batch + i[0], o.head + i[1], o.row + i[2], o.key + j);
      double const v =
          none || !seen ? 0.0 : static_cast<double>(std::exp(row[static_cast<std::size_t>(j)] - top) / sum);
      double const away =
          none || !seen || v == 0 ? 0.0 : static_cast<double>(top - row[static_cast<std::size_t>(j)]);
      s.y.push_back(v);
      s.y_bound.push_back(v * (n + 8 + away) * eps<T> + 4 * double(std::numeric_limits<T>::min()));
    }
    s.lse.push_back(none ? -infinity : static_cast<double>(top + std::log(sum)));
    s.lse_bound.push_back((n + 4 + std::fabs(s.lse.back())) * eps<T>);
  });
  return s;
}

template <class T, class M>
void check_softmax(M const& mask, score_origin const& o, array<T, 4> const& x, order how) {
  auto const exact = softmax_of(mask, o, x);
  extents<4> const e = x.ext();
  on_each_backend(
      [&](auto& be) {
        array<T, 4> y(e, how, 1), lse({e[0], e[1], e[2], 1}, how, 2);
        be.softmax(mask, o, x.in(), y.out(), lse.out());
        CHECK(lse.intact());
        CHECK(agree(lse.values(), exact.lse, exact.lse_bound));
        return y;
      },
      [&](auto const& got) { CHECK(agree(got.values(), exact.y, exact.y_bound)); });
  on_each_backend(  // in place
      [&](auto& be) {
        auto y = x;
        array<T, 4> lse({e[0], e[1], e[2], 1}, how, 2);
        be.softmax(mask, o, smx::as_input(y.out()), y.out(), lse.out());
        return y;
      },
      [&](auto const& got) { CHECK(agree(got.values(), exact.y, exact.y_bound)); });
}

TEMPLATE_TEST_CASE("softmax: full, causal with an origin, and a mask of everything", "", TEST_SCALARS) {
  using T = TestType;
  std::uint64_t seed = 2000;
  for (index_t const n : lengths)
    for (order const how : orders) {
      array<T, 4> x({2, 2, 5, n}, how, ++seed);
      auto scaled = x;
      each(x.ext(), [&](extents<4> const& i) { scaled(i) = x(i) * T(20); });
      check_softmax<T>(smx::full_mask{}, {}, scaled, how);
      check_softmax<T>(smx::causal_mask{}, {}, x, how);
      check_softmax<T>(smx::causal_mask{3}, {1, 1, 7, 2}, x, how);
      check_softmax<T>(smx::causal_mask{-3}, {}, x, how);  // the first rows see nothing
      check_softmax<T>(patterned_mask{}, {1, 3, 2, 5}, x, how);
      check_softmax<T>(band_mask{}, {0, 0, n / 2, 0}, x, how);
      check_softmax<T>(band_mask{}, {0, 0, n + 1, 3}, x, how);  // up to all of the keys lie before the range
    }
}

TEMPLATE_TEST_CASE("softmax: masked scores are never read", "", TEST_SCALARS) {
  using T = TestType;
  for (T const poison : {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity()})
    for (index_t const n : {1, 5, 16, 37, 70}) {
      array<T, 4> x({1, 2, 40, n}, order::padded, 3000);
      each(x.ext(), [&](extents<4> const& i) {
        if (i[3] > i[2] - 2) x(i) = poison;
      });
      check_softmax<T>(smx::causal_mask{-2}, {}, x, order::padded);
    }
}

TEMPLATE_TEST_CASE("softmax: -inf scores weigh nothing, a row of them is empty, NaN and +inf fill their row",
                   "", TEST_SCALARS) {
  using T = TestType;
  T const low = -std::numeric_limits<T>::infinity();
  for (index_t const n : {2, 9, 16, 40, 100}) {
    array<T, 4> x({1, 1, 6, n}, order::rows, 3100);
    for (index_t j = 0; j < n; ++j) {
      if (j % 3 == 0) x({0, 0, 0, j}) = low;
      x({0, 0, 1, j}) = low;
      if (j != n / 2) x({0, 0, 2, j}) = low;
    }
    x({0, 0, 3, n - 1}) = std::numeric_limits<T>::quiet_NaN();
    x({0, 0, 4, n / 2}) = std::numeric_limits<T>::infinity();
    check_softmax<T>(smx::full_mask{}, {}, x, order::rows);
    check_softmax<T>(patterned_mask{}, {}, x, order::rows);  // what is hidden stays 0 beside a NaN
    CHECK(softmax_of(smx::full_mask{}, score_origin{}, x).lse[1] == -infinity);
  }
}

TEMPLATE_TEST_CASE("softmax: shifts cancel, also for scores far from 0", "", TEST_SCALARS) {
  using T = TestType;
  for (T const shift : {T(0), T(1e4), T(-1e4), T(30000)}) {
    array<T, 4> x({1, 1, 3, 50}, order::rows, 3200);
    each(x.ext(), [&](extents<4> const& i) { x(i) += shift; });
    check_softmax<T>(smx::full_mask{}, {}, x, order::rows);
  }
}

TEMPLATE_TEST_CASE("softmax_backward: y (dy - sum y dy), in place too; entries of weight 0 do not read dy",
                   "", TEST_SCALARS) {
  using T = TestType;
  std::uint64_t seed = 4000;
  for (index_t const n : lengths)
    for (order const how : orders) {
      extents<4> const e{2, 2, 5, n};
      array<T, 4> y(e, how, ++seed), dy(e, how, ++seed);
      each(e, [&](extents<4> const& i) {
        y(i) = std::fabs(y(i)) / T(n);
        if ((i[2] + i[3]) % 4 == 1) y(i) = 0, dy(i) = std::numeric_limits<T>::quiet_NaN();
      });
      std::vector<double> exact, bound;
      each(extents<3>{e[0], e[1], e[2]}, [&](extents<3> const& r) {
        double dot = 0, magnitude = 0;
        for (index_t j = 0; j < n; ++j) {
          extents<4> const i{r[0], r[1], r[2], j};
          if (y(i) == 0) continue;
          dot += double(y(i)) * double(dy(i));
          magnitude += std::fabs(double(y(i)) * double(dy(i)));
        }
        for (index_t j = 0; j < n; ++j) {
          extents<4> const i{r[0], r[1], r[2], j};
          exact.push_back(y(i) == 0 ? 0.0 : double(y(i)) * (double(dy(i)) - dot));
          bound.push_back(y(i) == 0 ? 0.0
                                    : double(y(i)) * eps<T> *
                                          ((double(n) + 4) * magnitude + 3 * std::fabs(double(dy(i)))));
        }
      });
      auto const verify = [&](auto const& got) { CHECK(agree(got.values(), exact, bound)); };
      on_each_backend(
          [&](auto& be) {
            array<T, 4> dx(e, how, 9);
            be.softmax_backward(y.in(), dy.in(), dx.out());
            return dx;
          },
          verify);
      on_each_backend(
          [&](auto& be) {
            auto dx = dy;
            be.softmax_backward(y.in(), smx::as_input(dx.out()), dx.out());
            return dx;
          },
          verify);
      on_each_backend(
          [&](auto& be) {
            auto dx = y;
            be.softmax_backward(smx::as_input(dx.out()), dy.in(), dx.out());
            return dx;
          },
          verify);
    }
}

TEST_CASE("wrong extents of reduce and softmax throw on every backend and name the argument") {
  auto const rejects = [](auto& be) {
    array<float, 4> x({2, 3, 4, 5}, order::rows, 1), y({2, 3, 4, 5}, order::rows, 2),
        s({2, 3, 4, 1}, order::rows, 3);
    CHECK_THROWS_WITH(be.reduce(reduction::sum, x.in(), 0.f, y.out()),
                      contains("reduce: y: expected extents (2, 3, 4, 1)"));
    CHECK_THROWS_WITH(be.reduce(reduction::max, slice(x.in(), 3, 0, 0), 0.f, s.out()), contains("reduce: x"));
    for (int axis = 0; axis < 4; ++axis) {
      auto const less = slice(y.out(), axis, 0, 1);
      CHECK_THROWS_WITH(be.softmax(smx::full_mask{}, score_origin{}, x.in(), less, s.out()),
                        contains("softmax: y"));
      CHECK_THROWS_WITH(be.softmax_backward(x.in(), smx::as_input(less), y.out()),
                        contains("softmax_backward: dy"));
      CHECK_THROWS_WITH(be.softmax_backward(x.in(), x.in(), less), contains("softmax_backward: dx"));
      if (axis < 3)
        CHECK_THROWS_WITH(
            be.softmax(smx::full_mask{}, score_origin{}, x.in(), y.out(), slice(s.out(), axis, 0, 1)),
            contains("softmax: lse"));
    }
  };
  smx::reference_backend reference;
  rejects(reference);
  smx::cpu cpu(2);
  rejects(cpu);
  smx::traced<smx::cpu> traced(2);
  rejects(traced);
}

}  // namespace
