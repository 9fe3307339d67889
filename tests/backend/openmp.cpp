// SPDX-License-Identifier: Apache-2.0
// The CPU backend on OpenMP's threads: its own executable, because -fopenmp changes what a pool's header
// says.
#include <atomic>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <smx/backend/cpu/openmp_pool.hpp>

#include "arrays.hpp"

namespace {

using namespace test;
using openmp = smx::cpu_backend<smx::openmp_pool>;

static_assert(smx::Backend<openmp> && smx::Backend<smx::traced<openmp>>);

TEST_CASE("the pool runs each thread's part once and rethrows the lowest-numbered thread's exception") {
  CHECK_THROWS_WITH(smx::openmp_pool(-1), contains("openmp_pool: threads"));
  CHECK(smx::openmp_pool().threads() == omp_get_max_threads());
  for (int const threads : {1, 2, 5}) {
    smx::openmp_pool const pool(threads);
    CHECK(pool.threads() == threads);
    std::vector<int> runs(static_cast<std::size_t>(threads), 0);
    for (int round = 0; round < 200; ++round) pool.run([&](int t) { ++runs[static_cast<std::size_t>(t)]; });
    for (int const r : runs) CHECK(r == 200);
    CHECK_THROWS_WITH(pool.run([](int t) { throw std::runtime_error(std::to_string(t)); }), "0");
    CHECK_NOTHROW(pool.run([](int) {}));
  }
}

TEST_CASE("products, maps, rows and tiles have the bits of one thread") {
  array<float, 4> const a({2, 3, 300, 40}, 1), b({2, 3, 40, 70}, 2), c({2, 3, 300, 70}, 3);
  auto const run = [&](auto& be) {
    auto to = c;
    be.gemm(smx::op::none, smx::op::none, 1.f, a.in(), b.in(), 0.5f, to.out());
    be.map(smx::silu{}, to.out(), smx::as_input(to.out()));
    array<float, 4> lse({2, 3, 300, 1}, order::rows, 4);
    be.softmax(smx::full_mask{}, smx::score_origin{}, smx::as_input(to.out()), to.out(), lse.out());
    be.tiles(300, 10000, [&](auto& sub, index_t first, index_t count) {
      auto const part = slice(to.out(), 2, first, count);
      sub.map(smx::add{}, part, smx::as_input(part), slice(c.in(), 2, first, count));
    });
    return to;
  };
  smx::cpu_backend<smx::serial_pool> serial;
  auto const expected = run(serial).bytes();
  for (int const threads : {1, 2, 3}) {
    openmp be(threads);
    CHECK(run(be).bytes() == expected);
    CHECK(run(be).bytes() == expected);
    smx::cpu pool(threads);  // std::thread workers beside OpenMP's
    CHECK(run(pool).bytes() == expected);
    smx::traced<openmp> traced(threads);
    CHECK(run(traced).bytes() == expected);
  }
}

TEST_CASE("tiles cover each item once on OpenMP's threads; a tile's exception reaches the caller") {
  openmp be(3);
  for (index_t const n : {1, 2, 64, 65, 500}) {
    std::vector<std::atomic<int>> seen(static_cast<std::size_t>(n));
    auto const run = [&](bool fail) {
      be.tiles(n, 3000, [&](auto& sub, index_t first, index_t count) {
        sub.template scratch<char>(extents<2>{count, 3000});
        if (fail && first + count == n) throw std::runtime_error("last");
        for (index_t i = first; i < first + count; ++i) ++seen[static_cast<std::size_t>(i)];
      });
    };
    run(false);
    CHECK_THROWS_WITH(run(true), "last");
    run(false);
    bool covered = true;
    for (auto const& s : seen) covered = covered && s >= 2 && s <= 3;
    CHECK(covered);
  }
}

}  // namespace
