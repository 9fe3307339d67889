// SPDX-License-Identifier: Apache-2.0
/// \file  traced<cuda>: a record for each launch that the plan counts, the same bits, all work done when a
/// record ends.
#include <smx/backend/traced.hpp>
#include <smx/mixers/linear_attention.hpp>
#include <smx/mixers/monarch.hpp>
#include <smx/mixers/planning.hpp>

#include "tests/cuda/device.cuh"
#include "tests/cuda/harness.hpp"

namespace {

using namespace smx;
using testing::text;
using testing::verdict;

template <class M, class... X> verdict records_launches(M const& mix, X const&... x) {
  cuda_backend plain;
  traced<cuda_backend> be;
  auto const w = initialize(plain, mix, 1);
  auto const want = download(plain, forward(plain, mix, w, x...));
  auto const got = download(plain, forward(be, mix, w, x...));
  for (index_t i = 0; i < want.size(); ++i)
    if (want.data()[i] != got.data()[i]) return text("entry %lld differs", static_cast<long long>(i));
  index_t work = 0;
  double seconds = 0;
  for (trace_event const& e : be.events())
    if (e.kind == trace_kind::work) ++work, seconds += static_cast<double>(e.duration) * 1e-9;
  index_t const planned = plan(be, mix, x.extents()...).forward.launches;
  // pointer arrays are filled inside of a product's record
  if (work > planned || work < 1)
    return text("%lld records, the plan says %lld launches", static_cast<long long>(work),
                static_cast<long long>(planned));
  return seconds > 0 ? testing::holds : verdict("no time was recorded");
}

void records(test::reporter& report) {
  cuda_backend be;
  report("monarch",
         records_launches(monarch<float>{.length = 100}, random_normal<float>(be, {1, 1, 100, 8}, 2)));
  auto const q = random_normal<float>(be, {1, 2, 70, 8}, 2);
  report("linear_attention", records_launches(linear_attention<float>{}, q, q, q));
}

test::suite const traced_records{"traced", records};

}  // namespace
