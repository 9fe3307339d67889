// SPDX-License-Identifier: Apache-2.0
/// \file  The heap's entry points, counted. glibc lets a program define them and keeps its own under other
/// names; sanitizers define them already and offer a hook.
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <memory>

#include "tests/catch.hpp"
#include "tests/conformance/allocations.hpp"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TEST_SANITIZED 1
#endif
#endif

namespace {
std::atomic<long> count{0};
}  // namespace

long test::allocations() { return count.load(); }

#if defined(TEST_SANITIZED)
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*)(void const volatile*, std::size_t),
                                                         void (*)(void const volatile*));
namespace {
int const installed = __sanitizer_install_malloc_and_free_hooks(
    [](void const volatile*, std::size_t) { count.fetch_add(1, std::memory_order_relaxed); },
    [](void const volatile*) {});
}  // namespace
#else
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t bytes) {
  count.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(bytes);
}
void* calloc(std::size_t n, std::size_t bytes) {
  count.fetch_add(1, std::memory_order_relaxed);
  return __libc_calloc(n, bytes);
}
void* realloc(void* block, std::size_t bytes) {
  count.fetch_add(1, std::memory_order_relaxed);
  return __libc_realloc(block, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  count.fetch_add(1, std::memory_order_relaxed);
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** to, std::size_t alignment, std::size_t bytes) {
  count.fetch_add(1, std::memory_order_relaxed);
  *to = __libc_memalign(alignment, bytes);
  return *to == nullptr ? ENOMEM : 0;
}
}
#endif

namespace {
template <class F> long counted(F const& f) {
  long const before = test::allocations();
  f();
  return test::allocations() - before;
}
void* volatile sink;  // keeps the compiler from leaving out what it can prove unused
}  // namespace

TEST_CASE("what a program takes from the heap is counted") {
  CHECK(counted([] {}) == 0);
  CHECK(counted([] {
          sink = std::malloc(10);
          std::free(sink);
        }) == 1);
  CHECK(counted([] {
          sink = std::aligned_alloc(256, 512);
          std::free(sink);
        }) == 1);
  CHECK(counted([] {
          sink = new char[10];
          delete[] static_cast<char*>(sink);
        }) == 1);
}
