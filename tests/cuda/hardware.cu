// SPDX-License-Identifier: Apache-2.0
/// \file  What only a device shows, and the emulator has not: captured graphs, addresses, sizes, a lost
/// context.
#include <smx/mixers/monarch.hpp>
#include <smx/mixers/run.hpp>

#include "tests/cuda/device.cuh"
#include "tests/cuda/harness.hpp"

namespace {

using namespace smx;
using test::throws;
using testing::text;
using testing::verdict;

void capture(test::reporter& report) {
  cuda_backend be;
  monarch<float> const mix{.length = 1000};
  auto const w = initialize(be, mix, 1);
  auto const x = random_normal<float>(be, {1, 1, 1000, 32}, 2);  // (B,H,L,D)
  tensor<float, 4, device_space> y(be.memory(), {1, 1, 1000, 32});
  auto const work = [&] {
    auto frame = be.scope();
    mix.forward(be, w, {x.cview()}, tape_of<monarch<float>, cuda_backend>{}, y.view());
  };
  report("an arena that is too small",
         throws<backend_error>([&] { cuda_graph g(be, work); }, {"reserve", "planned"}));
  work();
  be.synchronize();
  cuda_graph const g(be, work);
  g.launch();
  be.synchronize();
  report("capture after one that failed", testing::holds);
}

void pointers(test::reporter& report) {
  cuda_backend be({.check_pointers = true});
  std::vector<float> host(64);
  tensor<float, 1, device_space> y(be.memory(), {64});
  report("an address of pageable host memory", throws<precondition_error>(
                                                   [&] {
                                                     view<float const, 1, device_space> const lie(host.data(),
                                                                                                  {64});
                                                     be.map(negate{}, y.view(), lie);
                                                   },
                                                   {"memory of device 0"}));
  tensor<float, 1> pinned(pinned_memory(), {64});
  be.map(constant<float>{1.0f}, y.view());
  be.map(negate{}, view<float, 1, device_space>(pinned.data(), {64}), as_input(y.view()));
  be.synchronize();
  report("page-locked memory is reachable", pinned(63) == -1.0f ? verdict() : verdict("not written"));
}

/// Arrays of more than 2^31 entries.
void large(test::reporter& report) {
  cuda_backend be;
  constexpr index_t n = (index_t{1} << 31) + 1000;
  tensor<bf16, 1, device_space> x(be.memory(), {n}), y(be.memory(), {n});
  be.map(constant<float>{3.0f}, slice(x.view(), 0, n - 5, 5));
  be.copy(as_input(x.view()), y.view());
  tensor<bf16, 1, device_space> tail(be.memory(), {8});
  be.copy(slice(as_input(y.view()), 0, n - 8, 8), tail.view());
  auto const got = download(be, tail);
  verdict found;
  for (index_t i = 0; i < 8; ++i)
    if (static_cast<float>(got(i)) != (i < 3 ? 0.0f : 3.0f))
      found = text("entry %lld is %g", static_cast<long long>(n - 8 + i),
                   static_cast<double>(static_cast<float>(got(i))));
  report("copy of 2^31 + 1000 entries", found);

  // a column of more than 2^31 - 1 rows: not cuBLAS's
  tensor<bf16, 1, device_space> one(be.memory(), {1});
  be.map(constant<float>{2.0f}, one.view());
  be.gemm(op::none, op::none, 1.0f, view<bf16 const, 4, device_space>(x.data(), {1, 1, n, 1}),
          view<bf16 const, 4, device_space>(one.data(), {1, 1, 1, 1}), 0.0f,
          view<bf16, 4, device_space>(y.data(), {1, 1, n, 1}));
  be.copy(slice(as_input(y.view()), 0, n - 8, 8), tail.view());
  auto const product = download(be, tail);
  report("gemm of 2^31 + 1000 rows",
         static_cast<float>(product(7)) == 6.0f && static_cast<float>(product(0)) == 0.0f
             ? verdict()
             : verdict(text("the last entry is %g", static_cast<double>(static_cast<float>(product(7))))));
}

__global__ void write_nowhere(int* p) { *p = 1; }

/// Last in its process: the device's context does not recover.
void lost(test::reporter& report) {
  tensor<float, 1> untouched({1000});
  for (index_t i = 0; i < 1000; ++i) untouched(i) = static_cast<float>(i);
  {
    cuda_backend be;
    auto const x = upload(be, untouched);
    auto const fault = [&] {
      auto frame = be.scope();  // whose two pieces of memory become one when it closes
      be.scratch<float>(extents<1>{1000}), be.scratch<float>(extents<1>{100000});
      be.kernel("write_nowhere", {}, [](cuda_launcher const& on) {
        on.launch({dim3(1), dim3(1)}, write_nowhere, static_cast<int*>(nullptr));
      });
      be.synchronize();
    };
    report("an illegal address", throws<backend_error>(fault, {"cudaStreamSynchronize", "illegal"}));
    report("every later call", throws<backend_error>([&] { upload(be, untouched); }, {"illegal"}));
  }  // destructors run and throw nothing
  verdict found;
  for (index_t i = 0; i < 1000; ++i)
    if (untouched(i) != static_cast<float>(i)) found = text("host entry %d changed", static_cast<int>(i));
  report("host data is untouched", found);
}

test::suite const capture_errors{"capture_errors", capture};
test::suite const pointer_errors{"pointer_errors", pointers};
test::suite const large_arrays{"large_arrays", large};
test::suite const lost_device{"lost_device", lost};

}  // namespace
