// SPDX-License-Identifier: Apache-2.0
// tiles, scratch, kernel and the thread pool: each item exactly once, exceptions reach the caller, plans are
// exact.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <type_traits>

#include <smx/backend/plan.hpp>

#include "arrays.hpp"

namespace {

using namespace test;

template <class B> void check_cover(B& be, index_t n, std::size_t bytes) {
  std::vector<std::atomic<int>> seen(static_cast<std::size_t>(n));
  std::atomic<bool> sound{true};
  be.tiles(n, bytes, [&](auto& sub, index_t first, index_t count) {
    if (first < 0 || count < 1 || first + count > n) {
      sound = false;
      return;
    }
    auto const mine =
        sub.template scratch<int>(extents<1>{count});  // one value an item, apart from other tiles'
    for (index_t i = 0; i < count; ++i) mine(i) = static_cast<int>(first + i);
    for (index_t i = 0; i < count; ++i) {
      if (mine(i) != first + i) sound = false;
      ++seen[static_cast<std::size_t>(first + i)];
    }
  });
  bool once = true;
  for (auto const& s : seen) once = once && s == 1;
  CHECK((sound && once));
}

TEST_CASE("tiles cover each item exactly once, for any size, scratch and number of threads") {
  smx::reference_backend reference;
  smx::cpu_backend<smx::serial_pool> serial;
  smx::cpu two(2), three(3);
  smx::traced<smx::cpu> traced(3);
  for (index_t const n : {0, 1, 2, 3, 5, 63, 64, 65, 127, 128, 129, 1000})
    for (std::size_t const bytes : {0u, 1u, 1000u, 8192u, 300000u, 524288u, 524289u, 100000000u}) {
      CAPTURE(n, bytes);
      check_cover(reference, n, bytes);
      check_cover(serial, n, bytes);
      check_cover(two, n, bytes);
      check_cover(three, n, bytes);
      check_cover(traced, n, bytes);
    }
}

TEST_CASE("the cut depends on the work only: the same tiles for any number of threads") {
  auto const cut = [](int threads, index_t n, std::size_t bytes) {
    smx::cpu be(threads);
    std::mutex mutex;
    std::set<std::pair<index_t, index_t>> tiles;
    be.tiles(n, bytes, [&](auto&, index_t first, index_t count) {
      std::lock_guard const lock(mutex);
      tiles.insert({first, count});
    });
    return tiles;
  };
  for (index_t const n : {1, 7, 64, 100, 999})
    for (std::size_t const bytes : {0u, 4096u, 600000u}) {
      auto const expected = cut(1, n, bytes);
      CHECK(cut(2, n, bytes) == expected);
      CHECK(cut(5, n, bytes) == expected);
    }
}

TEST_CASE("scratch of a tile fits the cache, and more than one thread works") {
  smx::cpu be(2);
  std::mutex mutex;
  std::set<std::thread::id> workers;
  index_t largest = 0;  // Catch2's assertions are not for several threads: tiles note, the test asserts
  be.tiles(100, 100000, [&](auto& sub, index_t, index_t count) {
    static_assert(std::is_same_v<std::remove_reference_t<decltype(sub)>, smx::cpu::serial>);
    std::lock_guard const lock(mutex);
    largest = std::max(largest, count);
    workers.insert(std::this_thread::get_id());
  });
  CHECK(static_cast<std::size_t>(largest) * 100000 <= smx::cpu::cache_bytes);
  CHECK(workers.size() == 2);
  CHECK(workers.count(std::this_thread::get_id()) == 1);
}

TEST_CASE("tiles nest, and their scratch with them") {
  smx::cpu be(3);
  std::vector<std::atomic<int>> seen(30 * 40);
  be.tiles(30, 1000, [&](auto& sub, index_t first, index_t count) {
    auto const outer = sub.template scratch<index_t>(extents<1>{1});
    for (index_t i = first; i < first + count; ++i) {
      outer(0) = i;
      sub.tiles(40, 1000, [&](auto& inner, index_t start, index_t size) {
        auto const mine = inner.template scratch<index_t>(extents<1>{1});
        mine(0) = -1;
        for (index_t j = start; j < start + size; ++j) ++seen[static_cast<std::size_t>(outer(0) * 40 + j)];
      });
    }
  });
  bool once = true;
  for (auto const& s : seen) once = once && s == 1;
  CHECK(once);
}

/// A program with scratch outside of tiles, inside of them, and inside of tiles of tiles.
template <class B> void scratch_program(B& be, index_t n) {
  auto frame = be.scope();
  be.template scratch<float>(extents<2>{n, 33});
  be.tiles(n, 70000, [](auto& sub, index_t first, index_t count) {
    sub.template scratch<double>(extents<2>{count, 1000 + first});
    auto inner = sub.scope();
    sub.template scratch<float>(extents<1>{first + 1});
    sub.tiles(10, 9000, [](auto& leaf, index_t, index_t some) {
      leaf.template scratch<float>(extents<2>{some, 2000});
    });
  });
  be.template scratch<float>(extents<1>{77});
}

TEST_CASE("planned workspace is what is used, byte for byte, for any number of threads") {
  for (int const threads : {1, 2, 3, 5})
    for (index_t const n : {1, 3, 8, 50, 200}) {
      smx::cpu be(threads);
      smx::plan_backend<smx::cpu> plan(be.how());
      scratch_program(be, n);
      scratch_program(plan, n);
      CAPTURE(threads, n);
      CHECK(be.workspace_bytes() == plan.workspace_bytes());
      scratch_program(be, n);
      CHECK(be.workspace_bytes() == plan.workspace_bytes());
      smx::traced<smx::cpu> traced(threads);
      scratch_program(traced, n);
      CHECK(traced.workspace_bytes() == plan.workspace_bytes());
    }
  smx::reference_backend reference;
  smx::plan_backend<> recipe;
  scratch_program(reference, 50);
  scratch_program(recipe, 50);
  CHECK(reference.workspace_bytes() == recipe.workspace_bytes());
}

TEST_CASE("a workspace of the caller's that is too small stops the program and says what is missing") {
  alignas(smx::memory_alignment) static char block[4096];
  smx::cpu_backend<smx::serial_pool> be(smx::workspace<host_space>(block, sizeof block));
  {
    auto frame = be.scope();
    be.scratch<float>(extents<1>{1000});
    CHECK_THROWS_WITH(be.scratch<float>(extents<1>{100}), contains("workspace") && contains("got 4608"));
  }
  auto frame = be.scope();
  CHECK(be.scratch<float>(extents<1>{1024}).ptr == reinterpret_cast<float*>(block));
}

TEST_CASE("exceptions of a tile reach the caller from any thread, and the backend goes on working") {
  for (int const threads : {1, 2, 3}) {
    smx::cpu be(threads);
    for (index_t const bad : {0, 31, 63}) {
      auto const run = [&](bool fail) {
        std::atomic<int> items{0};
        be.tiles(64, 1000, [&](auto& sub, index_t first, index_t count) {
          sub.template scratch<char>(extents<1>{5000});
          if (fail && first <= bad && bad < first + count)
            throw std::out_of_range("item " + std::to_string(bad));
          items += static_cast<int>(count);
        });
        return items.load();
      };
      CHECK_THROWS_WITH(run(true), "item " + std::to_string(bad));
      CHECK(run(false) == 64);
    }
    // all of them: the lowest-numbered thread's
    CHECK_THROWS_WITH(be.tiles(64, 0,
                               [](auto&, index_t first, index_t) {
                                 throw std::runtime_error("from " + std::to_string(first));
                               }),
                      "from 0");
  }
}

TEST_CASE("kernel runs its function once, on every backend but the planner, which counts its cost") {
  int runs = 0;
  smx::reference_backend reference;
  smx::cpu cpu(2);
  smx::traced<smx::cpu> traced(2);
  auto const count = [&](auto& be) { be.kernel("name", {100, 200}, [&] { ++runs; }); };
  count(reference);
  count(cpu);
  count(traced);
  CHECK(runs == 3);
  smx::plan_backend<> plan;
  count(plan);
  CHECK(runs == 3);
  CHECK(plan.result().flops == 100);
  CHECK(plan.result().bytes == 200);
  CHECK(plan.result().launches == 1);
}

TEST_CASE("thread pool: many short sections, moved pools, exceptions in between") {
  smx::thread_pool pool(4);
  std::vector<int> counts(4, 0);  // one a thread: no atomics, so that a race would show
  int thrown = 0;
  for (int round = 0; round < 3000; ++round) {
    try {
      pool.run([&](int thread) {
        ++counts[static_cast<std::size_t>(thread)];
        if (round % 100 == 7 && thread == round / 100 % 4) throw round;
      });
    } catch (int from) {
      CHECK(from == round);
      ++thrown;
    }
    if (round == 1500) {
      smx::thread_pool moved(std::move(pool));
      moved.run([&](int thread) { ++counts[static_cast<std::size_t>(thread)]; });
      pool.~thread_pool();
      new (&pool) smx::thread_pool(std::move(moved));
    }
  }
  CHECK(thrown == 30);
  for (int const c : counts) CHECK(c == 3001);
}

TEST_CASE("thread pool: sizes, and what a run writes is seen by the next") {
  CHECK_THROWS_WITH(smx::thread_pool(-1), contains("thread_pool: threads"));
  CHECK(smx::thread_pool(0).threads() >= 1);
  CHECK(smx::thread_pool(3).threads() == 3);
  for (int const threads : {1, 2, 7}) {
    smx::thread_pool const pool(threads);
    std::vector<long> value(7, 1);
    for (int round = 0; round < 50; ++round) {  // each thread reads what its neighbour wrote
      std::vector<long> next(7, 0);
      pool.run([&](int t) {
        for (int i = t; i < 7; i += threads)
          next[static_cast<std::size_t>(i)] = value[static_cast<std::size_t>((i + 1) % 7)] + i;
      });
      value = next;
    }
    long sum = 0;
    for (long const v : value) sum += v;
    CHECK(sum == 7 + 50 * 21);
  }
}

TEST_CASE("two backends on two threads at once are independent") {
  auto const work = [](float scale, double& result) {
    smx::cpu be(2);
    array<float, 4> a({1, 2, 70, 40}, 1), b({1, 2, 40, 50}, 2), c({1, 2, 70, 50}, 3);
    for (int n = 0; n < 20; ++n) be.gemm(smx::op::none, smx::op::none, scale, a.in(), b.in(), 0.f, c.out());
    result = c.values()[17];
  };
  double one = 0, two = 0, alone = 0;
  std::thread other([&] { work(2.f, two); });
  work(1.f, one);
  other.join();
  work(1.f, alone);
  CHECK(one == alone);
  CHECK(two == test::Approx(2 * alone).epsilon(1e-6));
}

}  // namespace
