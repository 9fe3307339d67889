// SPDX-License-Identifier: Apache-2.0
// States that are copied, written, read back and taken back go on with the same bits; what does not fit is
// refused.
#include <smx/state_file.hpp>

#include <array>
#include <fstream>

#include <smx/backend/cpu.hpp>
#include <smx/backend/reference.hpp>
#include <smx/mixers/attention.hpp>
#include <smx/mixers/causal_monarch.hpp>
#include <smx/mixers/linear_attention.hpp>
#include <smx/mixers/masked_monarch.hpp>
#include <smx/mixers/run.hpp>
#include <smx/mixers/ssd.hpp>
#include <smx/testing/numbers.hpp>

#include "tests/catch.hpp"
#include "tests/io/temporary_folder.hpp"

using namespace smx;
using smx::testing::numbers;
using smx::testing::values;
using test::contains;

namespace {

constexpr index_t capacity = 24;

/// A stream by hand: `made` tokens are prefilled, the rest comes one by one.
template <class M, class B> struct session {
  B& be;
  M m;
  parameters<M, B> w;
  typename M::template inputs<owns<B>> owned;
  inputs_in<M, B> x;

  session(B& backend, M const& mixer, std::vector<extents<4>> const& ext)
      : be(backend), m(mixer), w(initialize(backend, mixer, 3)) {
    std::size_t n = 0;
    M::for_each_input(
        [&](char const*, auto& to, auto& read) {
          if (n == ext.size()) return;
          extents<4> const e = ext[n++];
          index_t const sizes[] = {e[0], e[1], e[2], e[3]};
          to = random_normal<typename M::scalar>(be, sizes, n);
          read = to.cview();
        },
        owned, x);
  }
  inputs_in<M, B> rows(index_t first, index_t count) const {
    inputs_in<M, B> part;
    M::for_each_input(
        [&](char const*, auto const& from, auto& to) {
          if (from.size() != 0) to = slice(from, 2, first, count);
        },
        x, part);
    return part;
  }
  state_of<M, B> state() { return m.make_state(be, w.read(), x, capacity); }
  numbers prefill(state_of<M, B>& s, index_t first, index_t count) {
    auto const part = rows(first, count);
    tensor<typename M::scalar, 4> y(m.output_extents(part));
    auto frame = be.scope();
    m.prefill(be, w.read(), part, s, y.view());
    return values(y.cview());
  }
  numbers steps(state_of<M, B>& s, index_t first, index_t last) {
    numbers all;
    for (index_t t = first; t < last; ++t)
      for (double const v : prefill(s, t, 1)) all.push_back(v);
    return all;
  }
};

/// f(session) for every causal mixer on backend B.
template <class F, class B> void each_mixer(B& be, F const& f) {
  extents<4> const e{2, 1, capacity, 4}, heads{2, 2, capacity, 4}, column{2, 2, capacity, 1};
  f(session(be, attention<float, causal_mask>{}, {heads, heads, heads}));
  f(session(be, long_convolution<float>{.channels = 4, .taps = 20}, {e}));
  f(session(be, causal_monarch<float>{.channels = 4, .length = capacity, .order = 2}, {e}));
  f(session(be, masked_monarch<float>{.channels = 4, .length = capacity}, {e}));
  f(session(be, ssd<float>{.heads = 2}, {heads, column, heads, heads}));
  f(session(be, linear_attention<float>{}, {heads, heads, heads}));
}

}  // namespace

TEST_CASE("a state that was written and read back, or copied, goes on with the same bits") {
  test::temporary_folder folder;
  auto const check = [&](auto& be) {
    each_mixer(be, [&](auto run) {
      using mixer = decltype(run.m);
      CAPTURE(mixer::about.name);
      for (index_t const made : {0, 1, 7, int(capacity)}) {
        CAPTURE(made);
        auto s = run.state();
        if (made > 0) run.prefill(s, 0, made);
        if (made == 7) run.steps(s, 7, 9);
        index_t const now = made == 7 ? 9 : made;
        std::string const path = folder / "state";
        save_state(path, run.m, s);
        auto copy = clone_state(be, s);
        auto read = load_state(path, be, run.m, run.w.read(), run.x);
        CHECK(read.tokens() == now);
        CHECK(read.bytes() == s.bytes());
        auto const want = run.steps(s, now, capacity);
        CHECK(run.steps(copy, now, capacity) == want);
        CHECK(run.steps(read, now, capacity) == want);
        CHECK(folder.count() == 1);
      }
    });
  };
  reference_backend reference;
  check(reference);
  cpu be(1);
  check(be);
}

TEST_CASE("a copy and what it was made from do not touch each other") {
  cpu be(1);
  each_mixer(be, [&](auto run) {
    CAPTURE(decltype(run.m)::about.name);
    auto s = run.state();
    run.prefill(s, 0, 5);
    auto branch = clone_state(be, s);
    auto const want = run.steps(s, 5, 9);
    auto other = clone_state(be, branch);
    run.steps(other, 12, 16);  // other tokens
    CHECK(run.steps(branch, 5, 9) == want);
  });
}

TEST_CASE("attention forgets its last tokens, and refuses to forget more than it has") {
  cpu be(1);
  extents<4> const e{2, 2, capacity, 4};
  session run(be, attention<float, causal_mask>{}, {e, e, e});
  auto s = run.state();
  run.prefill(s, 0, 5);
  auto const want = run.steps(s, 5, 9);
  run.m.truncate(s, 5);
  CHECK(s.tokens() == 5);
  CHECK(run.steps(s, 5, 9) == want);
  CHECK_THROWS_WITH(run.m.truncate(s, 10), contains("attention: length: expected 0 to the tokens"));
  CHECK_THROWS_WITH(run.m.truncate(s, -1), contains("attention: length"));
  CHECK(s.tokens() == 9);
}

TEST_CASE("files of other mixers, types, shapes and versions are refused by name") {
  test::temporary_folder folder;
  cpu be(1);
  extents<4> const e{2, 1, capacity, 4};
  session run(be, long_convolution<float>{.channels = 4, .taps = 20}, {e});
  auto s = run.state();
  run.prefill(s, 0, 7);
  std::string const path = folder / "conv";
  save_state(path, run.m, s);
  auto const load = [&](auto& other) { return load_state(path, be, other.m, other.w.read(), other.x); };
  auto const refused = [&](auto& other, char const* why) {
    CHECK_THROWS_WITH(load(other), contains(path) && contains(why));
  };

  session monarch(be, masked_monarch<float>{.channels = 4, .length = capacity}, {e});
  refused(monarch, "mixer: expected 'masked_monarch', got 'long_convolution'");
  session wide(be, long_convolution<double>{.channels = 4, .taps = 20}, {e});
  CHECK_THROWS_WITH(load(wide), contains(path));
  session fewer(be, long_convolution<float>{.channels = 4, .taps = 19}, {e});
  refused(fewer, "state: taps: expected those of the kernels");
  session batch(be, long_convolution<float>{.channels = 4, .taps = 20}, {{3, 1, capacity, 4}});
  refused(batch, "rows");
  reference_backend plain;
  session reference(plain, long_convolution<float>{.channels = 4, .taps = 20}, {e});
  CHECK_THROWS_WITH(load_state(path, plain, reference.m, reference.w.read(), reference.x),
                    contains("layout: expected that of this backend"));

  CHECK_THROWS_WITH(load_state(folder / "none", be, run.m, run.w.read(), run.x), contains("none"));
  safetensors_writer older;
  older.set_metadata("format", "smx.state");
  older.set_metadata("version", "1");
  older.add("x", 1.f);
  older.write(path);
  refused(run, "version: expected '2', got '1'");
  safetensors_writer foreign;
  foreign.add("x", 1.f);
  foreign.write(path);
  refused(run, "format: expected 'smx.state' in the metadata");
}

TEST_CASE("a forged capacity is refused before it asks for memory") {
  test::temporary_folder folder;
  // a backend of limited memory: what is asked for beyond it is noticed
  struct limited : reference_backend {
    smx::memory<host_space> memory() const {
      auto source = host_memory();
      source.allocate = [](std::size_t bytes) -> void* {
        if (bytes > (std::size_t{1} << 20)) throw std::runtime_error("asked for " + std::to_string(bytes));
        return host_memory().allocate(bytes);
      };
      return source;
    }
  };
  limited be;
  each_mixer(be, [&](auto run) {
    using mixer = decltype(run.m);
    CAPTURE(mixer::about.name);
    auto s = run.state();
    run.prefill(s, 0, 3);
    for (index_t const forged :
         {index_t{capacity + 1}, index_t{1} << 28, index_t{1} << 58, std::numeric_limits<index_t>::max()}) {
      CAPTURE(forged);
      safetensors_writer file;
      file.set_metadata("format", "smx.state");
      file.set_metadata("version", "2");
      file.set_metadata("mixer", std::string(mixer::about.name));
      decltype(s)::for_each_array([&](char const* name, auto const& one) { file.add(name, one.cview()); }, s);
      decltype(s)::for_each_counter(
          [&](char const* name, index_t const& n) {
            bool const is_capacity = std::string(name).find("capacity") != std::string::npos;
            file.add(name, is_capacity ? forged : n);
          },
          s);
      file.write(folder / "forged");
      auto const load = [&] { return load_state(folder / "forged", be, run.m, run.w.read(), run.x); };
      if constexpr (requires { s.s; })  // a matrix: its size does not depend on the capacity
        CHECK_NOTHROW(load());
      else
        CHECK_THROWS_AS(load(), file_error);
    }
  });
}

TEST_CASE("a state that has gone round, and one that has dropped its oldest, go on from a file") {
  test::temporary_folder folder;
  cpu be(1);
  extents<4> const e{2, 2, capacity, 4};
  session run(be, attention<float, window_mask>{.mask = {4}}, {e, e, e});
  auto s = run.m.make_ring(be, {}, run.x, 6);
  run.steps(s, 0, 15);
  run.m.evict_front(s, 2);
  save_state(folder / "ring", run.m, s);
  auto read = load_state(folder / "ring", be, run.m, {}, run.x);
  CHECK(read.is_ring());
  CHECK(read.kept() == 4);
  CHECK(read.tokens() == 15);
  CHECK(run.steps(read, 15, capacity) == run.steps(s, 15, capacity));
}

TEST_CASE("a state file that is damaged anywhere is refused, and never crashes") {
  test::temporary_folder folder;
  cpu be(1);
  each_mixer(be, [&](auto run) {
    CAPTURE(decltype(run.m)::about.name);
    auto s = run.state();
    run.prefill(s, 0, 7);
    save_state(folder / "good", run.m, s);
    std::string bytes;
    {
      std::ifstream in(folder / "good", std::ios::binary);
      bytes.assign(std::istreambuf_iterator<char>(in), {});
    }
    auto const load = [&](std::string const& content) {
      std::ofstream(folder / "bad", std::ios::binary) << content;
      load_state(folder / "bad", be, run.m, run.w.read(), run.x);
    };
    CHECK_NOTHROW(load(bytes));
    for (std::size_t const n : {std::size_t(0), std::size_t(7), bytes.size() / 2, bytes.size() - 1}) {
      CAPTURE(n);
      CHECK_THROWS_AS(load(bytes.substr(0, n)), file_error);
    }
    // Counters that contradict each other. The I64 scalars come first in the data.
    std::size_t const data = 8 + static_cast<std::size_t>(static_cast<unsigned char>(bytes[0])) +
                             (static_cast<std::size_t>(static_cast<unsigned char>(bytes[1])) << 8);
    index_t counters = 0;
    decltype(s)::for_each_counter([&](char const*, index_t const&) { ++counters; }, s);
    for (index_t c = 0; c < counters; ++c)
      for (char const value : {char(0x7f), char(0xff)}) {
        std::string worse = bytes;
        worse[data + static_cast<std::size_t>(8 * c)] = value;  // 127: beyond every capacity
        if (value == char(0xff)) worse[data + static_cast<std::size_t>(8 * c) + 7] = value;  // negative
        CAPTURE(c, int(value));
        try {
          load(worse);
          // a larger capacity is no contradiction where nothing else depends on it
          CHECK(value == char(0x7f));
          CHECK(!requires { s.kernel; });
        } catch (file_error const&) { SUCCEED(); }
      }
  });
}
