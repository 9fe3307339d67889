// SPDX-License-Identifier: Apache-2.0
#include <bench/cuda/work.hpp>

#include <algorithm>
#include <memory>

namespace bench {
namespace {

template <class T, cudaError_t (*Destroy)(T)> struct destroys {
  using pointer = T;
  void operator()(T it) const { static_cast<void>(Destroy(it)); }
};
template <class T, cudaError_t (*Destroy)(T)>
using owned = std::unique_ptr<std::remove_pointer_t<T>, destroys<T, Destroy>>;
using event = owned<cudaEvent_t, cudaEventDestroy>;
using graph = owned<cudaGraph_t, cudaGraphDestroy>;
using executable = owned<cudaGraphExec_t, cudaGraphExecDestroy>;

constexpr double warm_ms = 15;   // the clocks of an idle GPU rise within milliseconds
constexpr double sample_ms = 1;  // of work between two events, so that their resolution does not matter
constexpr int most_samples = 15;
constexpr double slowest_call =
    25;  // times the seconds of a row: beyond, a row would take the time of many others

event make_event() {
  cudaEvent_t made = nullptr;
  expect_success(cudaEventCreate(&made), "cudaEventCreate");
  return event(made);
}

class stopwatch {
 public:
  explicit stopwatch(cudaStream_t stream) : stream_(stream), start_(make_event()), end_(make_event()) {}

  /// Milliseconds of what f enqueues.
  template <class F> double time(F const& f) {
    expect_success(cudaEventRecord(start_.get(), stream_), "cudaEventRecord");
    f();
    expect_success(cudaEventRecord(end_.get(), stream_), "cudaEventRecord");
    expect_success(cudaEventSynchronize(end_.get()), "cudaEventSynchronize");
    float ms = 0;
    expect_success(cudaEventElapsedTime(&ms, start_.get(), end_.get()), "cudaEventElapsedTime");
    return static_cast<double>(ms);
  }

 private:
  cudaStream_t stream_;
  event start_, end_;
};

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  std::size_t const n = v.size();
  return n % 2 == 1 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/// All sets, one after the other.
graph capture(gpu_work const& work) {
  expect_success(cudaStreamBeginCapture(work.stream, cudaStreamCaptureModeThreadLocal),
                 "cudaStreamBeginCapture");
  cudaGraph_t made = nullptr;
  try {
    for (int s = 0; s < work.sets; ++s) work.call(s);
  } catch (...) {
    static_cast<void>(cudaStreamEndCapture(work.stream, &made));  // the stream is usable again
    if (made != nullptr) static_cast<void>(cudaGraphDestroy(made));
    throw;
  }
  expect_success(cudaStreamEndCapture(work.stream, &made), "cudaStreamEndCapture");
  return graph(made);
}

double count_nodes(cudaGraph_t g) {
  std::size_t count = 0;
  expect_success(cudaGraphGetNodes(g, nullptr, &count), "cudaGraphGetNodes");
  std::vector<cudaGraphNode_t> nodes(count);
  expect_success(cudaGraphGetNodes(g, nodes.data(), &count), "cudaGraphGetNodes");
  double found = 0;
  for (cudaGraphNode_t node : nodes) {
    cudaGraphNodeType type{};
    expect_success(cudaGraphNodeGetType(node, &type), "cudaGraphNodeGetType");
    if (type == cudaGraphNodeTypeKernel || type == cudaGraphNodeTypeMemcpy || type == cudaGraphNodeTypeMemset)
      ++found;
  }
  return found;
}

}  // namespace

gpu_times time_work(gpu_work const& work, double seconds) {
  gpu_times out;
  stopwatch clock(work.stream);
  index_t left = work.calls;
  // The arena grows, libraries choose and load their kernels: where that took long, the next call says how
  // long it takes.
  auto const first_set = [&] {
    --left;
    return clock.time([&] { work.call(0); }) * 1e-3;
  };
  double const given = slowest_call * seconds;
  if (first_set() > given && (left <= work.sets || first_set() > given))
    throw std::runtime_error("a call takes longer than " + std::to_string(given) +
                             " s, what a row is given for one");
  for (int s = 1; s < work.sets; ++s) work.call(s);
  left -= work.sets - 1;
  expect_success(cudaStreamSynchronize(work.stream), "cudaStreamSynchronize");
  if (work.launches) {
    index_t const before = work.launches();
    work.call(0);
    --left;
    out.launches = static_cast<double>(work.launches() - before);
  }
  graph const recorded = capture(work);
  left -= work.sets;
  out.nodes = count_nodes(recorded.get()) / work.sets;
  cudaGraphExec_t made = nullptr;
  expect_success(cudaGraphInstantiate(&made, recorded.get(), 0), "cudaGraphInstantiate");
  executable const replay(made);
  auto const run = [&](index_t times) {
    return clock.time([&] {
      for (index_t n = 0; n < times; ++n)
        expect_success(cudaGraphLaunch(replay.get(), work.stream), "cudaGraphLaunch");
    });
  };
  double one = run(1);
  for (double spent = one; spent < warm_ms; spent += one) one = run(1);
  auto const per_sample =
      static_cast<index_t>(std::max(1.0, std::min(sample_ms / std::max(one, 1e-3), 1000.0)));
  double const each = one * static_cast<double>(per_sample);
  int const samples = std::max(3, static_cast<int>(std::min<double>(most_samples, seconds * 1e3 / each)));
  for (int n = 0; n < samples; ++n)
    out.samples_ms.push_back(run(per_sample) / static_cast<double>(per_sample * work.sets));

  // Enqueued call by call, as a program without graphs does: the host may be what limits it. Long calls hide
  // it.
  double const call = median(out.samples_ms);
  if (call < 5 && left > 0) {
    auto const count =
        std::min<index_t>(left, std::max<index_t>(1, static_cast<index_t>(2 * sample_ms / call)));
    out.direct_ms = clock.time([&] {
      for (index_t n = 0; n < count; ++n) work.call(static_cast<int>(n % work.sets));
    }) / static_cast<double>(count);
  }
  return out;
}

}  // namespace bench
