// SPDX-License-Identifier: Apache-2.0
/// \file  The kernels of the chunked scans against the recurrence, token by token, in double: every option,
/// sizes around tiles and chunks, layouts, packing, streams, decays that reach nothing, numbers that are
/// none.
#include <smx/backend/reference.hpp>
#include <smx/structured/chunk_scan.hpp>
#include <smx/testing/guarded.hpp>

#include "tests/conformance/cases/token_scan.hpp"
#include "tests/cuda/device.cuh"
#include "tests/cuda/harness.hpp"

namespace {

using namespace smx;
using testing::guarded;
using testing::holds;
using testing::layout;
using testing::numbers;
using testing::text;
using testing::verdict;

template <class T> constexpr double eps = static_cast<double>(std::numeric_limits<T>::epsilon());

struct scan_case {
  index_t batch = 1, heads = 1, groups = 1, length = 1, n = 1, p = 1, chunk = 64;
  group_map map = group_map::interleaved;
  bool weight = true, decay = true, skip = true, initial = true, final = true, in_place = false, tape = false;
  double scale = 0.7, decays = 0.1;  ///< mean of -log_decay
  layout how = layout::contiguous;
  std::vector<index_t> bounds = {};
  bool skip_by_head = false;

  index_t sequences() const { return bounds.empty() ? batch : static_cast<index_t>(bounds.size()) - 1; }
  chunk_scan_shape shape() const {
    chunk_scan_shape s{scale, chunk, map, {}};
    if (!bounds.empty()) s.packing = {bounds.data(), sequences()};
    return s;
  }
  std::string name() const {
    auto const i = [](index_t x) { return static_cast<long long>(x); };
    return text("B %lld H %lld G %lld%s L %lld N %lld P %lld Q %lld%s%s%s%s%s%s%s%s decay %g %s", i(batch),
                i(heads), i(groups), map == group_map::tiled ? " tiled" : "", i(length), i(n), i(p), i(chunk),
                weight ? " w" : "", decay ? " a" : "", skip ? " skip" : "", initial ? " initial" : "",
                final ? " final" : "", in_place ? " in place" : "", tape ? " tape" : "",
                bounds.empty() ? "" : " packed", decays, testing::layout_name(how));
  }
};

/// The arrays of a call, between cells that nobody may write.
template <class T> struct scan_arrays {
  guarded<T, 4> q, k, v, weight, decay, skip, initial, y, final;
  guarded<T, 5> states;

  static constexpr T mark = T(-7.40625e+11);

  guarded<T, 4> input(extents<4> const& e, layout how, std::uint64_t seed, double scale) {
    guarded<T, 4> g(e, how, testing::quiet_nan<T>);
    testing::fill_normal(g.write(), random_stream{seed, 0}, scale);
    return g;
  }
  guarded<T, 4> output(extents<4> const& e, layout how) {
    guarded<T, 4> g(e, how, mark);
    testing::fill(g.write(), testing::quiet_nan<T>);
    return g;
  }
  explicit scan_arrays(scan_case const& c) {
    extents<4> const keys{c.batch, c.groups, c.length, c.n}, values{c.batch, c.heads, c.length, c.p},
        column{c.batch, c.heads, c.length, 1}, state{c.sequences(), c.heads, c.n, c.p};
    q = input(keys, c.how, 1, 0.5), k = input(keys, c.how, 2, 0.5), v = input(values, c.how, 3, 1);
    if (c.weight) weight = input(column, c.how, 4, 1);
    if (c.decay) {
      decay = input(column, c.how, 5, 1);
      loops::for_each_index(column, [&](extents<4> const& i) {
        T& a = loops::at(decay.write(), i);
        a = static_cast<T>(-c.decays) * a * a;
      });
    }
    if (c.skip) skip = input({1, c.heads, 1, c.p}, layout::contiguous, 6, 1);
    if (c.initial) initial = input(state, c.how == layout::length_major ? layout::gaps : c.how, 7, 1);
    y = output(values, c.how);
    if (c.final && !(c.in_place && c.initial))
      final = output(state, c.how == layout::length_major ? layout::gaps : c.how);
    if (c.tape) {
      states = guarded<T, 5>(chunk_state_extents(c.shape(), keys, values), layout::contiguous, mark);
      testing::fill(states.write(), testing::quiet_nan<T>);
    }
  }
  template <class S> static view<T const, 4, S> reads(view<T, 4, S> const& v) { return v; }

  test::token_scan oracle(scan_case const& c) const {
    extents<4> const column{c.batch, c.heads, c.length, 1};
    test::token_scan s{c.shape(),
                       test::cube(q.read()),
                       test::cube(k.read()),
                       test::cube(v.read()),
                       c.weight ? test::cube(weight.read()) : test::cube(column, 1),
                       c.decay ? test::cube(decay.read()) : test::cube(column),
                       {},
                       {}};
    if (c.skip) s.skip = test::cube(skip.read());
    if (c.initial) s.initial = test::cube(initial.read());
    return s;
  }
};

template <class T, int R> void join(testing::mirror<device_space>& m, guarded<T, R> const& g) {
  m.add(g.write());
}

/// Runs forward on the backend. In place: final is initial.
template <class T> void run_forward(cuda_backend& be, scan_case const& c, scan_arrays<T>& a) {
  testing::mirror<device_space> m;
  for (auto const* g : {&a.q, &a.k, &a.v, &a.weight, &a.decay, &a.skip, &a.initial, &a.y, &a.final})
    join(m, *g);
  join(m, a.states);
  m.open();
  {
    auto frame = be.scope();
    auto const at = [&](auto const& g) { return m.there(g.write()); };
    chunk_scan_inputs<T, device_space> const x{at(a.q),     at(a.k),    at(a.v),      at(a.weight),
                                               at(a.decay), at(a.skip), at(a.initial)};
    auto const final =
        c.final ? (c.in_place && c.initial ? at(a.initial) : at(a.final)) : view<T, 4, device_space>{};
    chunk_scan_forward<cuda_backend, T>(be, c.shape(), x, at(a.y), final, at(a.states));
    be.synchronize();
  }
  m.close();
}

/// rounding: the relative error of an operand of a product; smallest: what small ones are off by in any case.
template <class T>
verdict forward_agrees(scan_case const& c, cuda_operands how = cuda_operands::f32, double rounding = 0,
                       double smallest = 0, std::size_t slab_bytes = std::size_t{1} << 30) {
  scan_arrays<T> a(c);
  auto const s = a.oracle(c);
  test::cube final, most;
  auto const y = s.forward(final);
  auto const large = s.magnitudes().forward(most);
  // y: q, state, k, v of a sum of states, or product, v, q, k
  double const relative = s.terms() * eps<T> + 6 * rounding;
  auto const bound = [&](test::cube const& m, double terms) {
    numbers b = test::times(m, relative);
    for (double& one : b) one += smallest * terms;
    return b;
  };
  cuda_backend be({.operands = how, .slab_bytes = slab_bytes});
  run_forward<T>(be, c, a);
  double const terms = 16 * static_cast<double>(c.length + c.n);
  if (auto bad = testing::within("y", testing::values(a.y.read()), y.at, bound(large, terms))) return bad;
  if (auto bad = a.y.intact("y")) return bad;
  auto const& last = c.in_place && c.initial ? a.initial : a.final;
  if (c.final) {
    if (auto bad = testing::within("final", testing::values(last.read()), final.at, bound(most, terms)))
      return bad;
    if (!(c.in_place && c.initial))
      if (auto bad = last.intact("final")) return bad;
  }
  if (!c.tape) return holds;
  // the states: the recurrence stopped before each chunk
  index_t const chunks = a.states.read().ext[1];
  for (index_t i = 0; i < c.sequences(); ++i)
    for (index_t k = 0; k < chunks; ++k) {
      index_t const first = c.bounds.empty() ? 0 : c.bounds[static_cast<std::size_t>(i)],
                    end = c.bounds.empty() ? c.length : c.bounds[static_cast<std::size_t>(i) + 1];
      if (first + k * c.chunk >= end) continue;
      // one sequence of the rows before
      std::vector<index_t> b(static_cast<std::size_t>(c.sequences()) + 1);
      auto part = s;
      if (c.bounds.empty()) {
        part.v.e[2] = c.length;
        for (index_t h = 0; h < c.heads; ++h)
          for (index_t t = k * c.chunk; t < c.length; ++t) part.w(i, h, t, 0) = 0, part.a(i, h, t, 0) = 0;
      } else {
        for (index_t h = 0; h < c.heads; ++h)
          for (index_t t = first + k * c.chunk; t < end; ++t) part.w(0, h, t, 0) = 0, part.a(0, h, t, 0) = 0;
      }
      test::cube want, size;
      static_cast<void>(part.forward(want));
      static_cast<void>(part.magnitudes().forward(size));
      for (index_t h = 0; h < c.heads; ++h)
        for (index_t n = 0; n < c.n; ++n)
          for (index_t p = 0; p < c.p; ++p) {
            double const got = static_cast<double>(a.states.read()(i, k, h, n, p));
            if (!(std::fabs(got - want(i, h, n, p)) <= relative * size(i, h, n, p) + smallest * terms))
              return text("states: sequence %lld chunk %lld: %.17g, expected %.17g",
                          static_cast<long long>(i), static_cast<long long>(k), got, want(i, h, n, p));
          }
    }
  return a.states.intact("states");
}

std::vector<scan_case> cases() {
  std::vector<scan_case> all;
  // sizes around tiles, slices and chunks
  for (index_t length : {1, 2, 63, 64, 65, 130})
    for (index_t chunk : {1, 7, 64})
      all.push_back({.heads = 2, .groups = 1, .length = length, .n = 5, .p = 16, .chunk = chunk});
  for (index_t n : {1, 5, 16, 33, 64, 128})
    for (index_t p : {1, 5, 16, 64, 68, 128})
      all.push_back({.heads = 1, .length = 70, .n = n, .p = p, .chunk = 32});
  all.push_back(
      {.batch = 2, .heads = 3, .groups = 1, .length = 300, .n = 40, .p = 24, .chunk = 128, .tape = true});
  all.push_back({.heads = 2, .groups = 2, .length = 600, .n = 16, .p = 16, .chunk = 256, .decays = 0.01});
  // groups
  for (auto map : {group_map::interleaved, group_map::tiled})
    for (index_t groups : {1, 2, 6})
      all.push_back({.batch = 2,
                     .heads = 6,
                     .groups = groups,
                     .length = 71,
                     .n = 12,
                     .p = 8,
                     .chunk = 16,
                     .map = map,
                     .tape = groups == 2});
  // what may be absent, alone and together
  for (int bits = 0; bits < 64; ++bits)
    all.push_back({.heads = 2,
                   .length = 90,
                   .n = 8,
                   .p = 12,
                   .chunk = 32,
                   .weight = (bits & 1) != 0,
                   .decay = (bits & 2) != 0,
                   .skip = (bits & 4) != 0,
                   .initial = (bits & 8) != 0,
                   .final = (bits & 16) != 0,
                   .in_place = bits % 3 == 0,
                   .tape = (bits & 32) != 0});
  // layouts
  for (auto how : {layout::offset, layout::gaps, layout::length_major})
    for (index_t p : {5, 32})
      all.push_back(
          {.batch = 2, .heads = 2, .groups = 2, .length = 100, .n = 20, .p = p, .chunk = 64, .how = how});
  // decays that reach nothing, and hardly any
  for (double decays : {1e-6, 1.0, 10.0, 110.0})
    all.push_back({.batch = 1,
                   .heads = 2,
                   .length = 200,
                   .n = 16,
                   .p = 16,
                   .chunk = 64,
                   .tape = true,
                   .decays = decays});
  // packed: empty sequences at both ends and between, borders inside of chunks
  for (bool tape : {false, true})
    for (bool initial : {false, true})
      all.push_back({.heads = 2,
                     .length = 200,
                     .n = 8,
                     .p = 8,
                     .chunk = 16,
                     .initial = initial,
                     .final = true,
                     .tape = tape,
                     .bounds = {0, 0, 3, 3, 3, 67, 131, 132, 200, 200}});
  all.push_back({.heads = 1,
                 .length = 70,
                 .n = 4,
                 .p = 4,
                 .chunk = 64,
                 .initial = true,
                 .in_place = true,
                 .bounds = {0, 70, 70}});
  all.push_back({.heads = 1,
                 .length = 70,
                 .n = 4,
                 .p = 4,
                 .chunk = 64,
                 .initial = false,
                 .final = false,
                 .bounds = {0, 30, 70}});
  {
    scan_case many{.heads = 1, .length = 300, .n = 4, .p = 4, .chunk = 8, .final = true};
    for (index_t i = 0; i <= 300; ++i) many.bounds.push_back(i);  // more than one launch carries
    all.push_back(many);
  }
  return all;
}

template <class T> void forward(test::reporter& report) {
  for (scan_case const& c : cases())
    report("forward, " + c.name(), testing::judged([&] { return forward_agrees<T>(c); }));
}

/// Gradients of a call, between cells that nobody may write.
template <class T> struct scan_gradient_arrays {
  guarded<T, 4> dy, last;  // given
  guarded<T, 4> q, k, v, weight, decay, skip, initial;

  scan_gradient_arrays(scan_case const& c, scan_arrays<T>& a) {
    auto const like = [&](guarded<T, 4> const& g, layout how) {
      return g.read().size() == 0 ? guarded<T, 4>() : a.output(g.read().ext, how);
    };
    extents<4> const values{c.batch, c.heads, c.length, c.p}, state{c.sequences(), c.heads, c.n, c.p};
    dy = a.input(values, c.how, 8, 1);
    if (c.final) last = a.input(state, layout::contiguous, 9, 1);
    q = like(a.q, c.how), k = like(a.k, c.how), v = like(a.v, c.how), weight = like(a.weight, c.how);
    decay = like(a.decay, c.how), initial = like(a.initial, layout::contiguous);
    if (c.skip) skip = a.output({c.sequences(), c.heads, 1, c.p}, layout::contiguous);
  }
};

template <class T>
void run_backward(cuda_backend& be, scan_case const& c, scan_arrays<T>& a, scan_gradient_arrays<T>& d) {
  testing::mirror<device_space> m;
  for (auto const* g : {&a.q, &a.k, &a.v, &a.weight, &a.decay, &a.skip, &a.initial, &d.dy, &d.last, &d.q,
                        &d.k, &d.v, &d.weight, &d.decay, &d.skip, &d.initial})
    join(m, *g);
  join(m, a.states);
  m.open();
  {
    auto frame = be.scope();
    auto const at = [&](auto const& g) { return m.there(g.write()); };
    chunk_scan_inputs<T, device_space> const x{at(a.q),     at(a.k),    at(a.v),      at(a.weight),
                                               at(a.decay), at(a.skip), at(a.initial)};
    chunk_scan_gradients<T, device_space> const dx{at(d.q),     at(d.k),    at(d.v),      at(d.weight),
                                                   at(d.decay), at(d.skip), at(d.initial)};
    chunk_scan_backward<cuda_backend, T>(be, c.shape(), x, at(a.states), at(d.dy), at(d.last), dx);
    be.synchronize();
  }
  m.close();
}

template <class T>
verdict backward_agrees(scan_case c, cuda_operands how = cuda_operands::f32, double rounding = 0,
                        double smallest = 0, std::size_t slab_bytes = std::size_t{1} << 30) {
  c.in_place = false;
  scan_arrays<T> a(c);
  scan_gradient_arrays<T> d(c, a);
  auto const s = a.oracle(c);
  test::cube const dy(d.dy.read()), last = c.final ? test::cube(d.last.read()) : test::cube();
  auto const want = s.backward(dy, last);
  auto const size = s.magnitudes().backward(test::absolute(dy), test::absolute(last));
  cuda_backend be({.operands = how, .slab_bytes = slab_bytes});
  if (c.tape) run_forward<T>(be, c, a);
  run_backward<T>(be, c, a, d);
  // of the chunks of 64 rows that backward takes, and as many roundings of operands as products follow
  auto one_chunk = s;
  one_chunk.shape.chunk = 64;
  double const terms = std::max(s.terms(), one_chunk.terms()), relative = terms * eps<T> + 8 * rounding;
  verdict bad;
  auto const compare = [&](char const* name, guarded<T, 4> const& got, test::cube const& value,
                           test::cube const& magnitude, double more) {
    if (bad || got.read().size() == 0) return;
    numbers bound = test::times(magnitude, relative + more * eps<T>);
    // what underflows is off by the smallest normal number
    for (double& one : bound)
      one += static_cast<double>(std::numeric_limits<T>::min()) +
             smallest * 64 * static_cast<double>((c.length + c.n + c.p) * c.heads);
    auto found = testing::values(got.read());
    if (found.size() != value.at.size()) {  // of each sequence
      numbers sum(value.at.size());
      for (std::size_t i = 0; i < found.size(); ++i) sum[i % sum.size()] += found[i];
      found = sum;
    }
    bad = testing::within(name, found, value.at, bound);
    if (!bad) bad = got.intact(name);
  };
  compare("dq", d.q, want.q, size.q, 0);
  compare("dk", d.k, want.k, size.k, 0);
  compare("dv", d.v, want.v, size.v, 0);
  compare("dweight", d.weight, want.w, size.w, 0);
  compare("dlog_decay", d.decay, want.a, size.a, static_cast<double>(c.n * c.p));
  compare("dinitial", d.initial, want.initial, size.initial, 0);
  compare("dskip", d.skip, want.skip, size.skip, static_cast<double>(c.length * c.batch));
  return bad;
}

template <class T> void backward(test::reporter& report) {
  for (scan_case const& c : cases())
    report("backward, " + c.name(), testing::judged([&] { return backward_agrees<T>(c); }));
  // parts of one head and of several, tails of parts
  for (auto map : {group_map::interleaved, group_map::tiled})
    for (index_t length : {70, 7000}) {
      scan_case const c{
          .heads = 10, .groups = 2, .length = length, .n = 4, .p = 4, .map = map, .decays = 0.01};
      report("backward, " + c.name(), testing::judged([&] { return backward_agrees<T>(c); }));
    }
}

/// A chunk longer than the rows runs as one of that many rows.
template <class T> verdict as_long_as_its_rows(scan_case c, index_t longer) {
  auto const run = [&](index_t chunk, index_t& launches, std::size_t& bytes) {
    c.chunk = chunk;
    scan_arrays<T> a(c);
    cuda_backend be;
    run_forward<T>(be, c, a);
    launches = be.launches(), bytes = be.workspace_bytes();
    return testing::values(a.y.read());
  };
  index_t launches = 0, more_launches = 0;
  std::size_t bytes = 0, more_bytes = 0;
  auto const y = run(c.length, launches, bytes), same = run(longer, more_launches, more_bytes);
  if (launches != more_launches || bytes != more_bytes)
    return text("%lld launches and %zu bytes, by chunks of its length %lld and %zu",
                static_cast<long long>(more_launches), more_bytes, static_cast<long long>(launches), bytes);
  return testing::identical("y", same, y);
}

/// Slabs of one chunk, of a few, and sequences that go on in the next.
template <class T> void slabs(test::reporter& report) {
  for (bool packed : {false, true})
    for (bool tape : {false, true})
      for (bool initial : {false, true})
        for (index_t chunks : {1, 2, 3, 5}) {
          scan_case c{.batch = packed ? 1 : 3,
                      .heads = 2,
                      .length = 170,
                      .n = 8,
                      .p = 4,
                      .chunk = 16,
                      .initial = initial,
                      .final = true,
                      .in_place = initial && !tape,
                      .tape = tape};
          if (packed) c.bounds = {0, 0, 3, 3, 67, 67, 131, 132, 170, 170};
          auto const bytes = static_cast<std::size_t>(chunks * (4096 + (tape ? 0 : 64) + 2)) * sizeof(T);
          report(text("slabs of %lld chunks, ", static_cast<long long>(chunks)) + c.name(),
                 testing::judged([&] { return forward_agrees<T>(c, cuda_operands::f32, 0, 0, bytes); }));
          c.chunk = 64;
          report(text("backward, slabs of about %lld chunks, ", static_cast<long long>(chunks)) + c.name(),
                 testing::judged([&] {
                   return backward_agrees<T>(c, cuda_operands::f32, 0, 0,
                                             bytes + static_cast<std::size_t>(chunks) * 25000);
                 }));
        }
  // the same bits
  scan_case const c{.batch = 2, .heads = 2, .length = 170, .n = 8, .p = 4, .chunk = 16};
  scan_arrays<T> a(c), b(c);
  cuda_backend large, small({.slab_bytes = 20000 * sizeof(T)});
  run_forward<T>(large, c, a), run_forward<T>(small, c, b);
  report("a chunk longer than the rows", testing::judged([] {
           return as_long_as_its_rows<T>({.batch = 2, .heads = 2, .length = 16, .n = 8, .p = 8}, 1000);
         }));
  report("slabs change no bit of y",
         testing::identical("y", testing::values(b.y.read()), testing::values(a.y.read())));
  report("slabs change no bit of the last states",
         testing::identical("final", testing::values(b.final.read()), testing::values(a.final.read())));
  report("launches", large.launches() == 4 && small.launches() > 8
                         ? holds
                         : verdict(text("%lld and %lld", static_cast<long long>(large.launches()),
                                        static_cast<long long>(small.launches()))));
}

void operands(test::reporter& report) {
  struct kind {
    cuda_operands how;
    double rounding, smallest;
  };
  for (kind const one :
       {kind{cuda_operands::tf32, std::ldexp(1, -11), 0}, kind{cuda_operands::bf16, std::ldexp(1, -8), 0},
        kind{cuda_operands::f16, std::ldexp(1, -11), std::ldexp(1, -24)}})
    for (scan_case c : {scan_case{.batch = 2, .heads = 2, .length = 200, .n = 40, .p = 24, .tape = true},
                        scan_case{.heads = 2, .groups = 2, .length = 130, .n = 64, .p = 68, .chunk = 128},
                        scan_case{.heads = 1, .length = 65, .n = 5, .p = 5, .chunk = 7}})
      report(text("operands %d, ", static_cast<int>(one.how)) + c.name(), testing::judged([&] {
               auto bad = forward_agrees<float>(c, one.how, one.rounding, one.smallest);
               return bad ? bad : backward_agrees<float>(c, one.how, one.rounding, one.smallest);
             }));
}

/// Nothing later than a row changes a bit of it, whatever it is.
template <class T> verdict future_is_unread(scan_case const& c, cuda_operands how, T value) {
  cuda_backend be({.operands = how});
  scan_arrays<T> plain(c);
  run_forward<T>(be, c, plain);
  for (index_t row : {index_t{0}, c.length / 3, c.length - 2}) {
    scan_arrays<T> a(c);
    for (auto const* g : {&a.q, &a.k, &a.v, &a.weight, &a.decay})
      if (g->read().size() > 0)
        loops::for_each_index(g->read().ext, [&](extents<4> const& i) {
          if (i[2] > row) loops::at(g->write(), i) = value;
        });
    run_forward<T>(be, c, a);
    auto const head = [&](scan_arrays<T> const& one) {
      return testing::values(slice(one.y.read(), 2, 0, row + 1));
    };
    if (auto bad = testing::identical("y", head(a), head(plain)))
      return testing::in_context(
          text("rows up to %lld, then %g", static_cast<long long>(row), static_cast<double>(value)), bad);
  }
  return holds;
}

/// A value that is no number reaches the rows that the recipe lets it reach, and no others.
template <class T> verdict infinite_values(scan_case const& c, T value, index_t row) {
  scan_arrays<T> a(c), b(c);
  for (auto* one : {&a, &b}) one->v.write()(0, 0, row, 0) = value;
  cuda_backend be;
  run_forward<T>(be, c, a);
  reference_backend host;
  chunk_scan_inputs<T, host_space> const x{b.q.read(),     b.k.read(),    b.v.read(),      b.weight.read(),
                                           b.decay.read(), b.skip.read(), b.initial.read()};
  chunk_scan_forward<reference_backend, T>(host, c.shape(), x, b.y.write(), b.final.write(),
                                           b.states.write());
  auto const got = testing::values(a.y.read()), want = testing::values(b.y.read());
  for (std::size_t i = 0; i < got.size(); ++i)
    if (std::isnan(got[i]) != std::isnan(want[i]) || std::isinf(got[i]) != std::isinf(want[i]))
      return text("entry %zu is %g, expected %g", i, got[i], want[i]);
  return holds;
}

/// A key, a query and a gradient that are no finite operands reach no gradients but those that NaN reaches in
/// the recipe.
template <class T> verdict infinite_gradients(cuda_operands how, T value) {
  scan_case const c{.batch = 2, .heads = 4, .groups = 2, .length = 100, .n = 20, .p = 20, .final = true};
  scan_arrays<T> a(c), b(c);
  scan_gradient_arrays<T> da(c, a), db(c, b);
  auto const put = [](scan_arrays<T>& to, scan_gradient_arrays<T>& d, T what) {
    to.k.write()(0, 0, 10, 0) = to.q.write()(1, 1, 5, 1) = d.dy.write()(0, 1, 70, 3) = what;
  };
  put(a, da, value), put(b, db, testing::quiet_nan<T>);
  cuda_backend be({.operands = how});
  run_backward<T>(be, c, a, da);
  reference_backend host;
  chunk_scan_inputs<T, host_space> const x{b.q.read(),     b.k.read(),    b.v.read(),      b.weight.read(),
                                           b.decay.read(), b.skip.read(), b.initial.read()};
  chunk_scan_gradients<T, host_space> const dx{db.q.write(),      db.k.write(),     db.v.write(),
                                               db.weight.write(), db.decay.write(), db.skip.write(),
                                               db.initial.write()};
  chunk_scan_backward<reference_backend, T>(host, c.shape(), x, b.states.write(), db.dy.read(),
                                            db.last.read(), dx);
  auto const compare = [](char const* name, guarded<T, 4> const& got, guarded<T, 4> const& want) -> verdict {
    auto const g = testing::values(got.read()), w = testing::values(want.read());
    for (std::size_t i = 0; i < g.size(); ++i)
      if (std::isfinite(w[i]) && !std::isfinite(g[i]))
        return text("%s: entry %zu is %g, which nothing but numbers reaches", name, i, g[i]);
    return holds;
  };
  verdict bad = compare("dq", da.q, db.q);
  if (!bad) bad = compare("dk", da.k, db.k);
  if (!bad) bad = compare("dv", da.v, db.v);
  return bad;
}

/// One decay that leaves nothing, and small ones after it in the same chunk: these keep their digits, so that
/// the bound is that of the scan without the large one.
template <class T> verdict small_decays_after_a_large_one() {
  scan_case const c{.heads = 1, .length = 64, .n = 8, .p = 8};
  scan_arrays<T> a(c);
  for (index_t t = 0; t < c.length; ++t) a.decay.write()(0, 0, t, 0) = t == 3 ? T(-1e5) : T(-0.01);
  auto const s = a.oracle(c);
  auto without = s;
  without.a(0, 0, 3, 0) = 0;
  test::cube final, most;
  auto const y = s.forward(final);
  auto const large = s.magnitudes().forward(most);
  cuda_backend be;
  run_forward<T>(be, c, a);
  return testing::within("y", testing::values(a.y.read()), y.at,
                         test::times(large, without.terms() * eps<T>));
}

template <class T> void causality(test::reporter& report) {
  scan_case const c{.heads = 2, .length = 150, .n = 20, .p = 20, .chunk = 128};
  for (T value : {T(1e30), T(-3), testing::quiet_nan<T>, std::numeric_limits<T>::infinity()})
    report(text("%g in every later row", static_cast<double>(value)),
           testing::judged([&] { return future_is_unread<T>(c, cuda_operands::f32, value); }));
  if constexpr (sizeof(T) == 4)
    for (auto how : {cuda_operands::tf32, cuda_operands::bf16, cuda_operands::f16})
      for (T value : {T(-3), T(7e4), T(1e30), testing::quiet_nan<T>})
        report(text("%g in every later row, operands %d", static_cast<double>(value), static_cast<int>(how)),
               testing::judged([&] { return future_is_unread<T>(c, how, value); }));
  for (T value : {testing::quiet_nan<T>, std::numeric_limits<T>::infinity()})
    report(text("%g in a key, a query and a gradient", static_cast<double>(value)),
           testing::judged([&] { return infinite_gradients<T>(cuda_operands::f32, value); }));
  if constexpr (sizeof(T) == 4)
    for (T value : {T(7e4), testing::quiet_nan<T>})
      report(text("%g in a key, a query and a gradient, operands f16", static_cast<double>(value)),
             testing::judged([&] { return infinite_gradients<T>(cuda_operands::f16, value); }));
  if constexpr (sizeof(T) == 4)
    report("small decays after a large one", testing::judged(small_decays_after_a_large_one<T>));
  for (T value : {testing::quiet_nan<T>, std::numeric_limits<T>::infinity()})
    for (index_t row : {0, 70, 149})
      for (double decays : {0.1, 100.0}) {
        scan_case one = c;
        one.decays = decays;
        report(text("%g in row %lld, decays %g", static_cast<double>(value), static_cast<long long>(row),
                    decays),
               testing::judged([&] { return infinite_values<T>(one, value, row); }));
      }
}

/// The row of a stream: one launch, the same as a chunk of one row.
template <class T> void steps(test::reporter& report) {
  for (auto how : {layout::contiguous, layout::offset, layout::gaps})
    for (index_t p : {1, 5, 64, 130, 300})
      for (int bits = 0; bits < 16; ++bits) {
        scan_case const c{.batch = 3,
                          .heads = 4,
                          .groups = 2,
                          .length = 1,
                          .n = p == 64 ? 128 : 7,
                          .p = p,
                          .chunk = 64,
                          .map = bits % 2 == 0 ? group_map::tiled : group_map::interleaved,
                          .weight = (bits & 1) != 0,
                          .decay = (bits & 2) != 0,
                          .skip = (bits & 4) != 0,
                          .initial = (bits & 8) != 0,
                          .final = true,
                          .in_place = bits % 3 == 0,
                          .how = how};
        report("step, " + c.name(), testing::judged([&] { return forward_agrees<T>(c); }));
      }
  cuda_backend be;
  scan_case c{.batch = 2, .heads = 2, .length = 1, .n = 200, .p = 8};
  c.how = layout::offset;
  scan_arrays<T> elsewhere(c);
  c.how = layout::contiguous;
  scan_arrays<T> a(c);
  run_forward<T>(be, c, elsewhere);
  run_forward<T>(be, c, a);
  report("where arrays lie changes no bit",
         testing::identical("y", testing::values(elsewhere.y.read()), testing::values(a.y.read())));
  index_t const before = be.launches();
  run_forward<T>(be, c, a);
  report("one launch", be.launches() - before == 1
                           ? holds
                           : verdict(text("%lld launches", static_cast<long long>(be.launches() - before))));
  report("one launch and no memory, whatever the chunk", testing::judged([] {
           return as_long_as_its_rows<T>({.heads = 1, .length = 1, .n = 8, .p = 8, .final = true}, 5000);
         }));
}

test::suite const forward_f32{"chunk_scan_f32", forward<float>};
test::suite const forward_f64{"chunk_scan_f64", forward<double>};
test::suite const backward_f32{"chunk_scan_backward_f32", backward<float>};
test::suite const backward_f64{"chunk_scan_backward_f64", backward<double>};
test::suite const slabs_f32{"chunk_scan_slabs_f32", slabs<float>};
test::suite const with_operands{"chunk_scan_operands", operands};
test::suite const causality_f32{"chunk_scan_causality_f32", causality<float>};
test::suite const causality_f64{"chunk_scan_causality_f64", causality<double>};
test::suite const steps_f32{"chunk_scan_step_f32", steps<float>};
test::suite const steps_f64{"chunk_scan_step_f64", steps<double>};

}  // namespace
