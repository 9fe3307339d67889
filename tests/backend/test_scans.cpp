// SPDX-License-Identifier: Apache-2.0
// Scans, triangular solves and table look-ups against recursions in double precision, with the error bound
// carried along.
#include "../scalars.hpp"
#include "arrays.hpp"

namespace {

using namespace test;
using smx::op;

constexpr order orders[] = {order::rows, order::padded, order::shuffled};

TEMPLATE_TEST_CASE("cumulative_sum along the last axis, in place too", "", TEST_SCALARS) {
  using T = TestType;
  std::uint64_t seed = 1;
  for (index_t const n : {1, 2, 15, 16, 17, 100, 1000})
    for (order const how : orders) {
      array<T, 4> const x({2, 3, 5, n}, how, ++seed);
      std::vector<double> exact = x.values(), bound(exact.size());
      double magnitude = 0;
      for (std::size_t i = 0; i < exact.size(); ++i) {
        bool const starts = i % static_cast<std::size_t>(n) == 0;
        magnitude = std::fabs(exact[i]) + (starts ? 0 : magnitude);
        exact[i] += starts ? 0 : exact[i - 1];
        bound[i] = (double(n) + 1) * eps<T> * magnitude;
      }
      auto const verify = [&](auto const& got) { CHECK(agree(got.values(), exact, bound)); };
      on_each_backend(
          [&](auto& be) {
            array<T, 4> y({2, 3, 5, n}, how, 7);
            be.cumulative_sum(x.in(), y.out());
            return y;
          },
          verify);
      on_each_backend(
          [&](auto& be) {
            auto y = x;
            be.cumulative_sum(smx::as_input(y.out()), y.out());
            return y;
          },
          verify);
    }
}

TEMPLATE_TEST_CASE(
    "decayed_scan along axis 2: y_t = exp(a_t) y_(t-1) + x_t, one decay for each channel or one for all", "",
    TEST_SCALARS) {
  using T = TestType;
  std::uint64_t seed = 100;
  for (extents<4> const& e :
       {extents<4>{1, 1, 1, 1}, extents<4>{2, 3, 9, 5}, extents<4>{1, 2, 50, 33}, extents<4>{2, 1, 7, 130}})
    for (order const how : orders)
      for (index_t const decays : {index_t(1), e[3]}) {
        array<T, 4> x(e, how, ++seed), a({e[0], e[1], e[2], decays}, how, ++seed);
        each(a.ext(), [&](extents<4> const& i) {
          a(i) = -T(2) * std::fabs(a(i));
          if (i[2] == 3) a(i) = -std::numeric_limits<T>::infinity();  // forgets everything before
        });
        array<T, 4> exact_array(e, order::rows, 1);
        std::vector<double> exact(exact_array.values()), bound(exact.size());
        auto const at = [&](index_t b, index_t h, index_t t, index_t d) {
          return static_cast<std::size_t>(((b * e[1] + h) * e[2] + t) * e[3] + d);
        };
        each(extents<3>{e[0], e[1], e[3]}, [&](extents<3> const& i) {
          double state = 0, error = 0;
          for (index_t t = 0; t < e[2]; ++t) {
            double const log_decay = double(a({i[0], i[1], t, decays == 1 ? 0 : i[2]})),
                         decay = std::exp(log_decay);
            double const kept =
                decay == 0 ? 0.0 : (2 - log_decay) * decay * std::fabs(state);  // exp errs by eps (1 + |a|)
            state = (decay == 0 ? 0.0 : decay * state) + double(x({i[0], i[1], t, i[2]}));
            error = decay * error + eps<T> * (2 * kept + std::fabs(state));
            exact[at(i[0], i[1], t, i[2])] = state;
            bound[at(i[0], i[1], t, i[2])] = error;
          }
        });
        auto const verify = [&](auto const& got) { CHECK(agree(got.values(), exact, bound)); };
        on_each_backend(
            [&](auto& be) {
              array<T, 4> y(e, how, 7);
              be.decayed_scan(a.in(), x.in(), y.out());
              return y;
            },
            verify);
        on_each_backend(
            [&](auto& be) {
              auto y = x;
              be.decayed_scan(a.in(), smx::as_input(y.out()), y.out());
              return y;
            },
            verify);
      }
}

TEMPLATE_TEST_CASE("solve_unit_lower: op(A)^-1 X; the diagonal and the upper part of A are not read", "",
                   TEST_SCALARS) {
  using T = TestType;
  std::uint64_t seed = 200;
  for (op const t : {op::none, op::transpose})
    for (extents<4> const& e :
         {extents<4>{1, 1, 1, 1}, extents<4>{2, 3, 5, 4}, extents<4>{1, 2, 17, 33}, extents<4>{2, 1, 64, 20}})
      for (order const how : orders) {
        index_t const n = e[2];
        array<T, 4> a({e[0], e[1], n, n}, how, ++seed), x(e, how, ++seed);
        each(a.ext(), [&](extents<4> const& i) {
          if (i[3] >= i[2])
            a(i) = std::numeric_limits<T>::quiet_NaN();
          else
            a(i) /= T(4);
        });
        std::vector<double> exact(x.values()), bound(exact.size());
        auto const at = [&](index_t b, index_t h, index_t r, index_t c) {
          return static_cast<std::size_t>(((b * e[1] + h) * n + r) * e[3] + c);
        };
        // the computed solution solves the system up to n eps |A| |x|, row by row; errors of earlier rows
        // pass on
        each(extents<3>{e[0], e[1], e[3]}, [&](extents<3> const& i) {
          for (index_t step = 0; step < n; ++step) {
            index_t const r = t == op::none ? step : n - 1 - step;
            double value = double(x({i[0], i[1], r, i[2]})), magnitude = std::fabs(value), error = 0;
            for (index_t s = 0; s < step; ++s) {
              index_t const c = t == op::none ? s : n - 1 - s;
              double const m = double(t == op::none ? a({i[0], i[1], r, c}) : a({i[0], i[1], c, r}));
              double const known = exact[at(i[0], i[1], c, i[2])];
              value -= m * known;
              magnitude += std::fabs(m * known);
              error += std::fabs(m) * bound[at(i[0], i[1], c, i[2])];
            }
            exact[at(i[0], i[1], r, i[2])] = value;
            bound[at(i[0], i[1], r, i[2])] = error + (double(n) + 2) * eps<T> * magnitude;
          }
        });
        on_each_backend(
            [&](auto& be) {
              auto to = x;
              be.solve_unit_lower(t, a.in(), to.out());
              return to;
            },
            [&](auto const& got) { CHECK(agree(got.values(), exact, bound)); });
      }
}

TEMPLATE_TEST_CASE("gather copies rows, scatter_add adds them in ascending order", "", TEST_SCALARS) {
  using T = TestType;
  numbers random(1);
  for (order const how : orders)
    for (index_t const width : {1, 5, 64, 100}) {
      std::vector<index_t> list(300);
      for (auto& row : list) row = random.below(20);
      view<index_t const, 1, host_space> const rows(list.data(), {100}, {3});  // every third one
      array<T, 2> table({20, width}, how, 300), dy({100, width}, how, 301);
      std::vector<double> picked, added = table.values(), bound(added.size(), 0.0);
      each(extents<2>{100, width}, [&](extents<2> const& i) {
        picked.push_back(double(table({rows(i[0]), i[1]})));
        auto const at = static_cast<std::size_t>(rows(i[0]) * width + i[1]);
        added[at] += double(dy(i));
        bound[at] += eps<T> * 8;  // a dozen terms below 1
      });
      on_each_backend(
          [&](auto& be) {
            array<T, 2> y({100, width}, how, 302);
            be.gather(table.in(), rows, y.out());
            return y;
          },
          [&](auto const& got) {
            CHECK(agree(got.values(), picked, std::vector<double>(picked.size(), 0.0)));
          });
      on_each_backend(
          [&](auto& be) {
            auto to = table;
            be.scatter_add(rows, dy.in(), to.out());
            return to;
          },
          [&](auto const& got) { CHECK(agree(got.values(), added, bound)); });
    }
}

TEST_CASE("look-ups outside of the table throw before anything is written; wrong extents are named") {
  auto const rejects = [](auto& be) {
    array<float, 2> table({4, 3}, order::rows, 1), y({2, 3}, order::rows, 2);
    auto const untouched = table.bytes(), untouched_y = y.bytes();
    for (index_t const bad : {index_t(4), index_t(-1), std::numeric_limits<index_t>::max()}) {
      index_t const list[2] = {1, bad};
      view<index_t const, 1, host_space> const rows(list, {2});
      CHECK_THROWS_WITH(
          be.gather(table.in(), rows, y.out()),
          contains("gather: rows: expected a row inside the table, got " + std::to_string(bad)));
      CHECK_THROWS_WITH(be.scatter_add(rows, y.in(), table.out()), contains("scatter_add: rows"));
    }
    CHECK(table.bytes() == untouched);
    CHECK(y.bytes() == untouched_y);
    index_t const list[3] = {0, 1, 2};
    view<index_t const, 1, host_space> const rows(list, {3});
    CHECK_THROWS_WITH(be.gather(table.in(), rows, y.out()),
                      contains("gather: y: expected extents (3, 3), got (2, 3)"));
    CHECK_THROWS_WITH(be.scatter_add(rows, y.in(), table.out()), contains("scatter_add: dy"));

    array<float, 4> x({2, 3, 4, 5}, order::rows, 3), less({2, 3, 4, 4}, order::rows, 4);
    CHECK_THROWS_WITH(be.cumulative_sum(x.in(), less.out()), contains("cumulative_sum: y"));
    CHECK_THROWS_WITH(be.cumulative_sum(x.in(), slice(x.out(), 0, 0, 1)), contains("cumulative_sum: y"));
    CHECK_THROWS_WITH(be.decayed_scan(x.in(), x.in(), less.out()), contains("decayed_scan: y"));
    CHECK_THROWS_WITH(be.decayed_scan(less.in(), x.in(), x.out()), contains("decayed_scan: a"));
    CHECK_THROWS_WITH(be.solve_unit_lower(op::none, x.in(), x.out()),
                      contains("solve_unit_lower: a: expected extents (2, 3, 4, 4)"));
  };
  smx::reference_backend reference;
  rejects(reference);
  smx::cpu cpu(2);
  rejects(cpu);
  smx::traced<smx::cpu> traced(2);
  rejects(traced);
}

}  // namespace
