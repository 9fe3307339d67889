// SPDX-License-Identifier: Apache-2.0
// Linked into every test: the sanitizers' allocators end the program where malloc would return null, unless
// told otherwise, and tests ask for memory that cannot be had.
extern "C" {
char const* __asan_default_options();
char const* __tsan_default_options();
char const* __asan_default_options() { return "allocator_may_return_null=1"; }
char const* __tsan_default_options() { return "allocator_may_return_null=1"; }
}
