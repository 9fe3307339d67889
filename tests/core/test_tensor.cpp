// SPDX-License-Identifier: Apache-2.0
// Owning arrays: zero when made, moved not copied, never leaked, and clear about memory that cannot be had.
#include <cstdint>
#include <type_traits>
#include <utility>

#include <smx/core/tensor.hpp>

#include "../catch.hpp"

namespace {

using smx::extents;
using smx::host_space;
using smx::index_t;
using smx::tensor;
using test::contains;

TEST_CASE("a tensor is zero when made, aligned, row-major and contiguous") {
  tensor<float, 3> t(extents<3>{3, 5, 7});
  CHECK(t.size() == 105);
  CHECK(t.bytes() == 420);
  CHECK(reinterpret_cast<std::uintptr_t>(t.data()) % smx::memory_alignment == 0);
  CHECK(is_contiguous(t.view()));
  bool zero = true;
  for (index_t i = 0; i < t.size(); ++i) zero = zero && t.data()[i] == 0;
  CHECK(zero);
  t(2, 4, 6) = 8;
  CHECK(t.data()[104] == 8);
  CHECK(std::as_const(t)(2, 4, 6) == 8);
}

TEST_CASE("a default-made tensor is empty") {
  tensor<double, 2> const t;
  CHECK(t.data() == nullptr);
  CHECK(t.size() == 0);
  CHECK(t.bytes() == 0);
  CHECK(t.view().empty());
  CHECK(t.clone().data() == nullptr);
}

TEST_CASE("tensors move and do not copy") {
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<tensor<float, 1>>);
  STATIC_REQUIRE_FALSE(std::is_copy_assignable_v<tensor<float, 1>>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<tensor<float, 1>>);
  STATIC_REQUIRE(std::is_nothrow_move_assignable_v<tensor<float, 1>>);
  tensor<float, 1> a(extents<1>{4});
  a(2) = 5;
  float const* const at = a.data();
  tensor<float, 1> b(std::move(a));
  CHECK(b.data() == at);
  CHECK(a.data() == nullptr);
  CHECK(a.size() == 0);
  tensor<float, 1> c(extents<1>{9});
  c = std::move(b);
  CHECK(c.data() == at);
  CHECK(c.extents() == extents<1>{4});
  CHECK(c(2) == 5);
  CHECK(b.data() == nullptr);
  auto& self = c;
  c = std::move(self);
  CHECK(c.data() == at);
}

TEST_CASE("clone copies every entry into memory of its own") {
  tensor<double, 2> a(extents<2>{2, 3});
  for (index_t i = 0; i < 6; ++i) a.data()[i] = static_cast<double>(i);
  auto b = a.clone();
  CHECK(b.extents() == a.extents());
  CHECK_FALSE(overlaps(a.view(), b.view()));
  for (index_t i = 0; i < 6; ++i) CHECK(b.data()[i] == static_cast<double>(i));
  b(1, 2) = -1;
  CHECK(a(1, 2) == 5);
}

TEST_CASE("a tensor asks for and gives back the same memory, once") {
  static index_t allocated, released;
  allocated = released = 0;
  smx::memory<host_space> const counting{[](std::size_t bytes) {
                                           ++allocated;
                                           return smx::host_memory().allocate(bytes);
                                         },
                                         [](void* block, std::size_t bytes) {
                                           ++released;
                                           smx::host_memory().release(block, bytes);
                                         },
                                         smx::host_memory().zero};
  {
    tensor<float, 1> a(counting, extents<1>{4}), b(counting, extents<1>{5});
    a = std::move(b);
    CHECK(released == 1);
    auto const c = a.clone();
    CHECK(allocated == 3);
  }
  CHECK(released == 3);
}

/// A tensor whose memory is looked at: clang leaves out an allocation that nobody uses, and its failure with
/// it.
static void make(index_t bytes) {
  tensor<char, 1> const t(extents<1>{bytes});
  asm volatile("" : : "r"(t.data()) : "memory");
}

TEST_CASE("bad sizes and memory that cannot be had throw, with the size in the message") {
  CHECK_THROWS_WITH((tensor<float, 2>(extents<2>{3, 0})),
                    contains("tensor: expected every extent to be at least 1, got 0"));
  CHECK_THROWS_AS((tensor<float, 2>(extents<2>{-1, 3})), smx::precondition_error);
  CHECK_THROWS_AS((tensor<float, 2>(extents<2>{index_t(1) << 40, index_t(1) << 40})),
                  smx::precondition_error);
  CHECK_THROWS_AS((tensor<double, 1>(extents<1>{index_t(1) << 60})), smx::precondition_error);  // 2^63 bytes
  CHECK_THROWS_AS(make(index_t(1) << 60), smx::out_of_memory);
  CHECK_THROWS_AS(make(index_t(1) << 60), std::bad_alloc);
  CHECK_THROWS_WITH(make(index_t(1) << 60), contains("1152921504606846976 bytes"));
  // rounding up to the alignment must not wrap
  CHECK_THROWS_AS(smx::host_memory().allocate(~std::size_t(0) - 3), smx::out_of_memory);
}

TEST_CASE("tensors without memory have shapes only") {
  tensor<float, 2, smx::meta_space> const t(smx::meta_memory(), extents<2>{1024, 1024});
  CHECK(t.bytes() == 4 << 20);
  CHECK(t.size() == 1 << 20);
  CHECK(t.view().ptr == nullptr);
}

}  // namespace
