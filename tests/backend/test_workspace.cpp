// SPDX-License-Identifier: Apache-2.0
// Workspaces: frames nest, growth keeps live views, the second call allocates nothing, borrowed blocks say
// what they lack, and the three kinds measure the same.
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include <smx/backend/workspace.hpp>

#include "arrays.hpp"

namespace {

using namespace test;
using workspace = smx::workspace<host_space>;
using frame = workspace::frame;

/// Memory that counts.
struct counter {
  static inline index_t allocations = 0, live = 0;
  static smx::memory<host_space> memory() {
    allocations = live = 0;
    return {[](std::size_t bytes) {
              ++allocations, ++live;
              return smx::host_memory().allocate(bytes);
            },
            [](void* block, std::size_t bytes) {
              --live;
              smx::host_memory().release(block, bytes);
            },
            smx::host_memory().zero};
  }
};

bool aligned(void const* p) { return reinterpret_cast<std::uintptr_t>(p) % smx::memory_alignment == 0; }

TEST_CASE("views taken in one frame are aligned and apart, and given back when the frame closes") {
  workspace ws(counter::memory());
  frame const outer(ws);
  auto const a = ws.take<float>(extents<2>{3, 5}), b = ws.take<float>(extents<2>{7, 1});
  CHECK(ws.used() == 512);
  CHECK((aligned(a.ptr) && aligned(b.ptr)));
  CHECK_FALSE(overlaps(a, b));
  {
    frame const inner(ws);
    auto const c = ws.take<double>(extents<1>{100});
    CHECK_FALSE((overlaps(a, c) || overlaps(b, c)));
    CHECK(ws.used() == 512 + 1024);
  }
  CHECK(ws.used() == 512);
  CHECK(ws.peak() == 1536);
  auto const d = ws.take<float>(extents<1>{1});
  CHECK_FALSE((overlaps(a, d) || overlaps(b, d)));
}

TEST_CASE("growth does not move or change views that are in use") {
  workspace ws(counter::memory());
  frame const all(ws);
  std::vector<view<int, 1, host_space>> taken;
  for (int n = 0; n < 40; ++n) {
    taken.push_back(ws.take<int>(extents<1>{100 * (n % 7 + 1)}));
    for (index_t i = 0; i < taken.back().size(); ++i) taken.back()(i) = n;
  }
  CHECK(counter::allocations > 1);
  CHECK(counter::allocations <= 10);  // doubling
  for (int n = 0; n < 40; ++n)
    for (index_t i = 0; i < taken[static_cast<std::size_t>(n)].size(); ++i)
      if (taken[static_cast<std::size_t>(n)](i) != n) FAIL("view " << n << " was overwritten");
}

TEST_CASE("the second call of the same program allocates nothing, and everything is given back at the end") {
  {
    workspace ws(counter::memory());
    auto const program = [&] {
      frame const outer(ws);
      ws.take<float>(extents<1>{1000});
      for (int n = 0; n < 5; ++n) {
        frame const inner(ws);
        ws.take<double>(extents<2>{n + 1, 700});
        ws.take<char>(extents<1>{1});
      }
      ws.take<float>(extents<1>{5000});
    };
    program();
    CHECK(counter::live == 1);  // one block of the peak
    auto const first = counter::allocations;
    for (int n = 0; n < 3; ++n) program();
    CHECK(counter::allocations == first);
  }
  CHECK(counter::live == 0);
}

TEST_CASE("calls that need a little more each time allocate seldom, and those that need much more no more") {
  workspace ws(counter::memory());
  auto const call = [&](index_t numbers) {
    frame const outer(ws);
    ws.take<float>(extents<1>{numbers});
  };
  for (index_t n = 1; n <= 1000; ++n) call(64 * n);
  CHECK(counter::allocations < 60);
  CHECK(ws.peak() == 256 * 1000);
  index_t const before = counter::allocations;
  for (index_t n = 1000; n <= 1100; ++n) call(64 * n);
  CHECK(counter::allocations <= before + 4);
  CHECK(counter::live == 1);
}

TEST_CASE("a frame closes whatever its memory throws") {
  static bool broken = false;
  struct lost : std::runtime_error {
    using std::runtime_error::runtime_error;
  };
  broken = false;
  workspace ws({[](std::size_t bytes) {
                  return broken ? throw lost("no device") : smx::host_memory().allocate(bytes);
                },
                smx::host_memory().release, smx::host_memory().zero});
  auto const call = [&] {
    frame const outer(ws);
    ws.take<float>(extents<1>{100});
    ws.take<float>(extents<1>{1000});
    broken = true;
    throw std::logic_error("a kernel failed");
  };
  CHECK_THROWS_AS(call(), std::logic_error);
  CHECK_THROWS_AS(ws.take<float>(extents<1>{1}), lost);
}

TEST_CASE("a borrowed block of the measured size is enough, one byte less is an error that names the bytes") {
  auto const program = [](workspace& ws) {
    frame const outer(ws);
    ws.take<float>(extents<1>{1000});
    {
      frame const inner(ws);
      ws.take<double>(extents<1>{300});
    }
    ws.take<float>(extents<1>{10});
  };
  auto measured = smx::workspace<smx::meta_space>::measuring();
  {
    smx::workspace<smx::meta_space>::frame const outer(measured);
    measured.take<float>(extents<1>{1000});
    {
      smx::workspace<smx::meta_space>::frame const inner(measured);
      measured.take<double>(extents<1>{300});
    }
    measured.take<float>(extents<1>{10});
  }
  auto const bytes = measured.peak();
  CHECK(bytes == 4096 + 2560);
  std::vector<std::byte> memory(bytes + smx::memory_alignment);
  std::byte* block = memory.data();
  while (!aligned(block)) ++block;
  workspace enough(block, bytes);
  CHECK_NOTHROW(program(enough));
  CHECK(enough.peak() == bytes);
  CHECK_NOTHROW(program(enough));
  workspace less(block, bytes - 1);
  CHECK_THROWS_AS(program(less), smx::precondition_error);
  CHECK_THROWS_WITH(program(less), contains("workspace: expected a block large enough for the plan") &&
                                       contains("got 6656"));
  CHECK(less.used() == 0);
  {
    frame const again(less);  // a request that fails changes nothing
    CHECK_THROWS(less.take<char>(extents<1>{7000}));
    CHECK(less.take<float>(extents<1>{1000}).ptr == reinterpret_cast<float*>(block));
  }
  CHECK_THROWS_WITH(workspace(block + 1, bytes - 1), contains("workspace: block"));
}

TEST_CASE("memory that cannot be had throws and leaves the workspace as it was") {
  workspace ws(counter::memory());
  frame const all(ws);
  auto const a = ws.take<char>(extents<1>{10});
  CHECK_THROWS_WITH(ws.take<char>(extents<1>{index_t(1) << 60}), contains("1152921504606846976 bytes"));
  CHECK_THROWS_WITH(ws.take<double>(extents<2>{0, 4}),
                    contains("scratch: expected every extent to be at least 1, got 0"));
  CHECK_THROWS_AS(ws.take<double>(extents<2>{index_t(1) << 40, index_t(1) << 40}), smx::precondition_error);
  CHECK(ws.used() == 256);
  auto const b = ws.take<char>(extents<1>{10});
  CHECK_FALSE(overlaps(a, b));
}

TEST_CASE("a workspace moves with its memory") {
  workspace a(counter::memory());
  {
    frame const f(a);
    a.take<char>(extents<1>{100});
  }
  auto const made = counter::allocations;
  workspace b(std::move(a));
  {
    frame const f(b);
    b.take<char>(extents<1>{100});
  }
  CHECK(counter::allocations == made);
  CHECK(b.peak() == 256);
}

}  // namespace
