// SPDX-License-Identifier: Apache-2.0
/// \file  What goes wrong on a device is an exception that says what, and the backend goes on where it can.
#include "tests/cuda/device.cuh"
#include "tests/cuda/harness.hpp"

namespace {

using namespace smx;
using test::throws;
using testing::text;
using testing::verdict;

void memory(test::reporter& report) {
  report("more memory than there is",
         throws<out_of_memory>([] { tensor<float, 1, device_space>(device_memory(), {index_t{1} << 46}); },
                               {"281474976710656 bytes", "device memory", "free"}));
  cuda_backend be;
  tensor<float, 1, device_space> y(be.memory(), {4});
  be.map(constant<float>{2.0f}, y.view());
  verdict found;
  if (download(be, y)(3) != 2.0f) found = text("wrong result after out of memory");
  report("the device works after it", found);

  report("an error says the sizes",
         throws<backend_error>(
             [&] {
               cuda_kernels::check(cudaErrorInvalidValue, "map", extents<3>{2, 30, 4});
             },
             {"cuda: map of (2,30,4): "}));

  report("a shape that does not fit",
         throws<precondition_error>([&] { be.map(negate{}, y.view(), slice(as_input(y.view()), 0, 0, 3)); },
                                    {"map: x", "expected extents (4), got (3)"}));
}

void looking_up_outside(test::reporter& report) {
  cuda_backend be;
  tensor<float, 2, device_space> table(be.memory(), {4, 3}), y(be.memory(), {2, 3});
  tensor<index_t, 1> rows({2});
  rows(0) = 3, rows(1) = 4;
  auto const there = upload(be, rows);
  be.gather(table.cview(), there.cview(), y.view());
  report("a row outside the table",
         throws<backend_error>([&] { be.synchronize(); }, {"rows inside the table"}));
  be.scatter_add(there.cview(), y.cview(), table.view());
  report("a row outside the table's gradient",
         throws<backend_error>([&] { be.synchronize(); }, {"rows inside the table"}));
  be.synchronize();  // once is enough
  be.scatter_add(there.cview(), y.cview(), slice(table.view(), 0, 0, 0));
  report("a gradient of no rows",
         throws<backend_error>([&] { be.synchronize(); }, {"rows inside the table"}));
}

test::suite const memory_errors{"memory_errors", memory};
test::suite const lookup_errors{"lookup_errors", looking_up_outside};

}  // namespace
