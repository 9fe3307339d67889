// SPDX-License-Identifier: Apache-2.0
// traced<B> behaves as B, counts as the planner does, and writes what Perfetto reads.
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include <smx/backend/cpu.hpp>  // the tuned kernels too
#include <smx/mixers/dense.hpp>
#include <smx/mixers/monarch.hpp>
#include <smx/mixers/planning.hpp>

#include "arrays.hpp"

namespace {

using namespace test;
using smx::trace_event;
using smx::trace_kind;
using traced = smx::traced<smx::cpu>;

static_assert(smx::Backend<traced, float> && smx::Backend<traced, double>);
static_assert(smx::Backend<smx::traced<smx::cpu&>> && smx::Backend<smx::traced<smx::reference_backend>>);
static_assert(smx::Mixer<smx::monarch<float>, smx::traced<smx::cpu_backend<>>>);
static_assert(std::is_same_v<traced::space_type, host_space>);
static_assert(std::is_same_v<traced::target, smx::cpu::target>);
static_assert(std::is_void_v<smx::traced<smx::reference_backend>::target>);

std::string file_name(char const* name) { return std::string("smx_test_traced_") + name + ".json"; }

std::string content(std::string const& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

template <class M> void check_against_plan(M const& mix, index_t const (&ext)[4], int threads) {
  smx::cpu plain(threads);
  traced be(threads);
  auto const w = smx::initialize(plain, mix, 1);
  auto const x = smx::random_normal<float>(plain, ext, 2);
  auto const y = smx::forward(plain, mix, w, x);
  auto const z = smx::forward(be, mix, w, x);
  CHECK(std::memcmp(y.data(), z.data(), y.bytes()) == 0);
  CHECK(be.workspace_bytes() == plain.workspace_bytes());

  smx::cost seen;
  for (trace_event const& e : be.events())
    if (e.kind == trace_kind::work) {
      seen.flops += e.flops;
      seen.bytes += e.bytes;
      ++seen.launches;
    }
  auto const report = smx::plan(be, mix, x.extents());
  CHECK(seen.flops == report.forward.flops);
  CHECK(seen.bytes == report.forward.bytes);
  CHECK(seen.launches == report.forward.launches);
  CHECK(be.workspace_bytes() == report.forward.workspace);
  auto const same = smx::plan(plain, mix, x.extents());
  CHECK(report.text() == same.text());

  auto const g = smx::gradients(plain, mix, w, x, y);
  auto const h = smx::gradients(be, mix, w, x, y);
  CHECK(std::memcmp(g.x.data(), h.x.data(), g.x.bytes()) == 0);
}

TEST_CASE(
    "a traced backend gives the bits, workspace and plan of the wrapped one; its counts are the plan's") {
  for (int const threads : {1, 2, 3}) {
    check_against_plan(smx::monarch<float>{.length = 60, .order = 3}, {2, 1, 60, 70}, threads);
    check_against_plan(smx::monarch<float>{.length = 64, .order = 2}, {1, 2, 64, 33}, threads);
    check_against_plan(smx::dense<float>{.length = 40}, {2, 1, 40, 20}, threads);
  }
}

/// Every primitive once.
template <class B> void run_everything(B& be) {
  array<float, 4> a({1, 2, 6, 6}, 1), b = a, c = a;
  array<float, 4> r({1, 2, 6, 1}, order::rows, 2), s = r, gain({1, 1, 1, 6}, order::rows, 3), dgain = gain,
                                                   dbias = gain;
  array<float, 2> table({4, 3}, order::rows, 4), y({2, 3}, order::rows, 5);
  index_t const list[2] = {1, 3};
  view<index_t const, 1, host_space> const rows(list, {2});
  be.gemm(smx::op::none, smx::op::transpose, 1.f, a.in(), b.in(), 0.f, c.out());
  be.gemm(smx::op::none, smx::op::none, 1.f, a.in(), b.in(), 1.f, c.out());
  be.gemm_select(smx::op::transpose, smx::op::none, 1.f, a.in(), b.in(), 0.f, c.out());
  be.map(smx::add{}, c.out(), a.in(), b.in());
  be.generate([](extents<4> const&) { return 1.f; }, c.out());
  be.copy(a.in(), c.out());
  be.reduce(smx::reduction::sum, a.in(), 0.f, r.out());
  be.reduce(smx::reduction::max, a.in(), 0.f, r.out());
  be.softmax(smx::causal_mask{}, smx::score_origin{}, a.in(), c.out(), r.out());
  be.softmax_backward(a.in(), b.in(), c.out());
  be.norm(smx::norm_kind::layer, 1e-5f, a.in(), gain.in(), gain.in(), c.out(), r.out(), s.out());
  be.norm_backward(smx::norm_kind::rms, a.in(), gain.in(), r.in(), s.in(), b.in(), c.out(), dgain.out(),
                   dbias.out());
  be.cumulative_sum(a.in(), c.out());
  be.decayed_scan(a.in(), b.in(), c.out());
  be.solve_unit_lower(smx::op::none, a.in(), c.out());
  be.gather(table.in(), rows, y.out());
  be.scatter_add(rows, y.in(), table.out());
  be.kernel("a \"kernel\" \\ with\nodd name \xff", {7, 9}, [] {});
}

TEST_CASE("each primitive leaves one record, with its name, shapes and the planner's counts") {
  traced be(2);
  run_everything(be);
  auto const events = be.events();
  char const* const names[] = {"gemm",
                               "gemm",
                               "gemm_select",
                               "map",
                               "generate",
                               "copy",
                               "reduce",
                               "reduce",
                               "softmax",
                               "softmax_backward",
                               "norm",
                               "norm_backward",
                               "cumulative_sum",
                               "decayed_scan",
                               "solve_unit_lower",
                               "gather",
                               "scatter_add",
                               "a \"kernel\" \\ with\nodd name \xff"};
  REQUIRE(events.size() == std::size(names));
  for (std::size_t n = 0; n < events.size(); ++n) {
    CHECK(events[n].name == names[n]);
    CHECK(events[n].kind == trace_kind::work);
    CHECK(events[n].thread == 0);
    CHECK(events[n].depth == 0);
    CHECK(events[n].duration >= 0);
    if (n > 0) CHECK(events[n].start >= events[n - 1].start + events[n - 1].duration);
  }
  CHECK(events[0].shapes == "nt (1,2,6,6) (1,2,6,6) (1,2,6,6)");
  CHECK(events[2].shapes == "tn (1,2,6,6) (1,2,6,6) (1,2,6,6)");
  CHECK(events[6].shapes == "sum (1,2,6,6) (1,2,6,1)");
  CHECK(events[10].shapes == "layer (1,2,6,6)");
  CHECK(events[15].shapes == "(4,3) (2) (2,3)");
  // counted by hand
  CHECK(events[0].flops == 2 * 2 * 6 * 6 * 6);
  CHECK(events[0].bytes == 3 * 2 * 36 * 4);
  CHECK(events[1].bytes == 4 * 2 * 36 * 4);  // beta = 1 reads C
  CHECK(events[3].flops == 2 * 72);
  CHECK(events[4].bytes == 72 * 4);
  CHECK(events[17].flops == 7);
  CHECK(events[17].bytes == 9);
}

TEST_CASE("tiles: a span of the caller's, one for each tile on the thread that ran it, in a fixed order") {
  auto const record = [](int threads) {
    traced be(threads);
    array<float, 4> a({64, 1, 8, 8}, 1), c = a;
    for (int repeat = 0; repeat < 3; ++repeat)
      be.tiles(64, 40000, [&](auto& sub, index_t first, index_t count) {
        sub.map(smx::negate{}, slice(c.out(), 0, first, count), slice(a.in(), 0, first, count));
        sub.tiles(2, 0, [](auto& leaf, index_t, index_t) { leaf.kernel("leaf", {}, [] {}); });
      });
    return be.events();
  };
  auto const text = [](std::vector<trace_event> const& events) {
    std::string all;
    for (trace_event const& e : events)
      all += std::to_string(e.thread) + ' ' + std::to_string(e.depth) + ' ' + e.name + ' ' + e.shapes + '\n';
    return all;
  };
  auto const events = record(3);
  for (int repeat = 0; repeat < 5; ++repeat) CHECK(text(record(3)) == text(events));
  std::map<int, index_t> items;
  index_t outer = 0;
  for (std::size_t n = 0; n < events.size(); ++n) {
    trace_event const& e = events[n];
    if (e.name == "tiles" && e.depth == 0) {
      CHECK(e.thread == 0);
      CHECK(e.shapes == "64");
      ++outer;
    }
    if (e.name == "tile" && e.depth == (e.thread == 0 ? 1 : 0)) {
      items[e.thread] += std::stol(e.shapes.substr(e.shapes.find('+') + 1));
      CHECK(events[n + 1].name == "map");
      CHECK(events[n + 1].depth == e.depth + 1);
      CHECK(events[n + 1].start >= e.start);
      CHECK(events[n + 1].start + events[n + 1].duration <= e.start + e.duration);
    }
  }
  CHECK(outer == 3);
  CHECK(items.size() == 3);
  CHECK(items[0] + items[1] + items[2] == 3 * 64);
}

TEST_CASE("the Chrome trace is valid JSON with properly nested intervals; strings are escaped") {
  traced be(2);
  {
    auto const span = be.region("region \"one\"\t");
    run_everything(be);
    be.tiles(10, 100000, [](auto& sub, index_t, index_t) { sub.kernel("leaf", {1, 2}, [] {}); });
  }
  auto const path = file_name("valid");
  be.write_chrome_trace(path);
  auto const trace = nlohmann::json::parse(content(path));
  CHECK_FALSE(std::ifstream(path + ".partial").good());
  std::remove(path.c_str());

  auto const events = be.events();
  std::map<int, std::vector<double>> open;  // ends of the enclosing intervals, by thread
  std::size_t complete = 0;
  bool named = false;
  for (auto const& e : trace.at("traceEvents")) {
    CHECK(e.at("pid") == 1);
    int const thread = e.at("tid");
    if (e.at("ph") == "M") {
      named = named || (e.at("name") == "process_name" && e.at("args").at("name") == "smx on cpu");
      continue;
    }
    REQUIRE(e.at("ph") == "X");
    trace_event const& expected = events.at(complete++);
    CHECK(thread == expected.thread);
    CHECK(e.at("args").at("flops") == expected.flops);
    CHECK(e.at("args").at("bytes") == expected.bytes);
    CHECK(e.at("args").at("shapes") == expected.shapes);
    double const start = e.at("ts"), end = start + static_cast<double>(e.at("dur"));
    CHECK(start == test::Approx(static_cast<double>(expected.start) * 1e-3));
    auto& ends = open[thread];
    while (!ends.empty() && ends.back() <= start) ends.pop_back();
    if (!ends.empty()) CHECK(end <= ends.back() + 1e-6);
    ends.push_back(end);
  }
  CHECK(complete == events.size());
  CHECK(named);
  CHECK(trace.at("traceEvents").at(2).at("name") == "region \"one\"\t");
  CHECK(events[0].depth == 0);
  CHECK(events[1].depth == 1);
  bool odd = false;
  for (auto const& e : trace.at("traceEvents"))
    odd = odd || e.at("name") == "a \"kernel\" \\ with\nodd name ?";
  CHECK(odd);
}

TEST_CASE("a trace that cannot be written says so and leaves what was there") {
  traced const be(1);
  CHECK_THROWS_AS(be.write_chrome_trace("no_such_folder/trace.json"), smx::backend_error);
  CHECK_THROWS_WITH(be.write_chrome_trace("no_such_folder/trace.json"),
                    contains("no_such_folder/trace.json"));
  auto const path = file_name("folder");
  CHECK_THROWS_WITH(be.write_chrome_trace("."), contains("."));  // cannot be replaced by a file
  CHECK_FALSE(std::ifstream("..partial").good());
  { std::ofstream(path) << "before"; }
  be.write_chrome_trace(path);
  CHECK(content(path).find("traceEvents") != std::string::npos);
  std::remove(path.c_str());
}

TEST_CASE("the summary adds up calls, times and counts by name, without spans") {
  std::vector<trace_event> const events = {
      {"tiles", "", trace_kind::span, 0, 0, 0, 0, 0, 9000000},
      {"gemm", "", trace_kind::work, 0, 1, 3e6, 1e6, 0, 1000000},
      {"gemm", "", trace_kind::work, 1, 1, 5e6, 3e6, 0, 3000000},
      {"copy", "", trace_kind::work, 0, 1, 0, 8e6, 0, 2000000},
  };
  auto const text = smx::trace_summary(events);
  CHECK_THAT(text, contains("gemm                              2        4.000       2.00       1.00\n"));
  CHECK_THAT(text, contains("copy                              1        2.000       0.00       4.00\n"));
  CHECK_THAT(text, contains("total                             3        6.000       1.33       2.00\n"));
  CHECK(text.find("tiles") == std::string::npos);
  CHECK(text.find("gemm") < text.find("copy"));
  CHECK_THAT(smx::trace_summary({}), contains("total"));
}

TEST_CASE(
    "a traced backend can watch one that exists, start over, and keeps its record when a primitive throws") {
  smx::cpu cpu(2);
  smx::traced<smx::cpu&> be(cpu);
  CHECK(&be.backend() == &cpu);
  CHECK(be.threads() == 2);
  CHECK(std::string(be.name()) == "cpu");
  array<float, 4> a({1, 1, 4, 4}, 1), c({1, 1, 4, 5}, 2);
  CHECK_THROWS_AS(be.map(smx::negate{}, c.out(), a.in()), smx::precondition_error);
  be.map(smx::negate{}, a.out(), a.in());
  CHECK(be.events().size() == 2);
  be.clear();
  CHECK(be.events().empty());
  be.map(smx::negate{}, a.out(), a.in());
  CHECK(be.events().size() == 1);
  CHECK_THROWS(be.tiles(10, 0, [](auto&, index_t, index_t) { throw 1; }));
  be.clear();
  be.map(smx::negate{}, a.out(), a.in());
  CHECK(be.events()[0].depth == 0);  // spans were closed on the way out
}

}  // namespace
