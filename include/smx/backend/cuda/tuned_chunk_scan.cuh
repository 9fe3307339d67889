// SPDX-License-Identifier: Apache-2.0
/// \file  The GPU's way of running the chunked scans forward: four launches for the chunks whose states fit
///        into a slab of scratch; a stream's single row in one.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>

#include <smx/backend/chunk_scan_calls.hpp>
#include <smx/backend/cuda/backend.cuh>
#include <smx/backend/cuda/chunk_scan_kernel.cuh>
#include <smx/backend/cuda/chunk_scan_step.cuh>
#include <smx/backend/tuned.hpp>

namespace smx {
namespace tuned_cuda_scan {

/// Whether rows of V can be moved 16 bytes at once. The pointer counts, so that only launches may ask.
template <class V> bool moves_packs(V const& v) {
  constexpr index_t size = 16 / static_cast<index_t>(sizeof(typename V::value_type));
  bool ok = reinterpret_cast<std::uintptr_t>(v.ptr) % 16 == 0;
  constexpr int last = V::rank - 1;
  for (int r = 0; r < last; ++r) ok = ok && v.str[r] % size == 0;
  return ok && v.ext[last] % size == 0;
}
template <class V> cuda_kernels::scan_rows<typename V::element_type> rows_of(V const& v) {
  if (v.size() == 0) return {nullptr, 0, 0, 0, false};
  return {v.ptr, v.str[0], v.str[1], v.str[2], moves_packs(v)};
}

/// The sizes of a call, and its chunks: those of all sequences one after the other.
template <class T, class S> struct work {
  chunk_scan_shape shape;
  chunk_scan_inputs<T, S> x;
  index_t chunk, batch, heads, groups, length, n, p, sequences;

  work(chunk_scan_shape const& s, chunk_scan_inputs<T, S> const& in, index_t rows)
      : shape(s),
        x(in),
        chunk(rows),
        batch(in.v.ext[0]),
        heads(in.v.ext[1]),
        groups(in.q.ext[1]),
        length(in.v.ext[2]),
        n(in.q.ext[3]),
        p(in.v.ext[3]),
        sequences(s.packing.count > 0 ? s.packing.count : in.v.ext[0]) {}

  bool packed() const { return shape.packing.count > 0; }
  index_t chunks_of(index_t i) const {
    return cuda_kernels::ceil_div(packed() ? shape.packing.bounds[i + 1] - shape.packing.bounds[i] : length,
                                  chunk);
  }
  index_t chunks() const {
    if (!packed()) return sequences * chunks_of(0);
    index_t all = 0;
    for (index_t i = 0; i < sequences; ++i) all += chunks_of(i);
    return all;
  }
  bool chunks_follow() const {
    if (!packed()) return chunks_of(0) > 1;
    for (index_t i = 0; i < sequences; ++i)
      if (chunks_of(i) > 1) return true;
    return false;
  }
  index_t tiles(index_t size) const { return cuda_kernels::ceil_div(size, cuda_kernels::tile_edge); }
  /// Tiles on and below the diagonal of a chunk.
  index_t pairs() const { return tiles(chunk) * (tiles(chunk) + 1) / 2; }
  /// Whether the kernels take these sizes.
  bool fits() const {
    constexpr index_t most = 65535;
    return n > 0 && p > 0 && heads > 0 && batch > 0 && length > 0 && chunk <= 1024 && heads <= most &&
           groups <= most && pairs() <= most && tiles(n) * tiles(p) <= most &&
           tiles(chunk) * tiles(p) <= most && n < (index_t{1} << 24) && p < (index_t{1} << 24);
  }
  cuda_kernels::scan_heads sizes() const {
    return {heads, groups, static_cast<int>(n), static_cast<int>(p), shape.groups == group_map::tiled};
  }
  cuda_kernels::scan_inputs<T> inputs() const {
    return {rows_of(x.q),      rows_of(x.k),         rows_of(x.v),
            rows_of(x.weight), rows_of(x.log_decay), x.skip.size() == 0 ? nullptr : x.skip.ptr,
            x.skip.str[1],     x.skip.str[3],        static_cast<T>(shape.scale)};
  }
  cuda_kernels::scan_chunks places(view<index_t, 1, S> const& table) const {
    return {chunk, length, sequences, packed() ? 0 : chunks_of(0), packed() ? table.ptr : nullptr};
  }
};

/// Bounds of the sequences, then the numbers of their first chunks, on the device; nothing where not packed.
template <class B, class T, class S> view<index_t, 1, S> place_table(B& be, work<T, S> const& d) {
  if (!d.packed()) return {};
  index_t const each = d.sequences + 1, count = 2 * each;
  auto const to = be.template scratch<index_t>(extents<1>{count});
  index_t start = 0;
  for (index_t from = 0; from < count; from += cuda_kernels::scan_numbers::most) {
    cuda_kernels::scan_numbers numbers{};
    auto const some = static_cast<int>(std::min<index_t>(cuda_kernels::scan_numbers::most, count - from));
    for (int i = 0; i < some; ++i) {
      index_t const at = from + i;
      numbers.at[i] = at < each ? d.shape.packing.bounds[at] : start;
      if (at >= each && at + 1 < count) start += d.chunks_of(at - each);
    }
    be.kernel("chunk_scan_bounds", {0, static_cast<double>(some) * sizeof(index_t)},
              [&](cuda_launcher const& on) {
                on.launch({dim3(1), dim3(256)}, cuda_kernels::store_scan_numbers<>, numbers, some,
                          detail::advance(to.ptr, from));
              });
  }
  return to;
}

/// Scratch of the chunks of one segment: states unless they have a place, decays, products of queries and
/// keys.
template <class T, class S> struct segment_memory {
  view<T, 4, S> states;    // (chunks,H,N,P)
  view<T, 2, S> whole;     // (chunks,H)
  view<T, 4, S> products;  // (chunks,G,pairs,4096)

  template <class B>
  segment_memory(B& be, work<T, S> const& d, index_t chunks, bool own_states)
      : whole(be.template scratch<T>(extents<2>{chunks, d.heads})),
        products(be.template scratch<T>(extents<4>{chunks, d.groups, d.pairs(), cuda_kernels::tile_size})) {
    if (own_states) states = be.template scratch<T>(extents<4>{chunks, d.heads, d.n, d.p});
  }
  static std::size_t bytes(work<T, S> const& d, bool own_states) {
    index_t const each =
        d.groups * d.pairs() * cuda_kernels::tile_size + (own_states ? d.heads * d.n * d.p : 0) + d.heads;
    return static_cast<std::size_t>(each) * sizeof(T);
  }
};

/// What segments hand over, in turn.
template <class T, class S> class carries {
 public:
  template <class B>
  carries(B& be, work<T, S> const& d) : all_(be.template scratch<T>(extents<4>{2, d.heads, d.n, d.p})) {}
  cuda_kernels::scan_carry<T> next() {
    turn_ = 1 - turn_;
    return {detail::advance(all_.ptr, (1 - turn_) * all_.str[0]),
            detail::advance(all_.ptr, turn_ * all_.str[0])};
  }

 private:
  view<T, 4, S> all_;  // (2,H,N,P)
  index_t turn_ = 0;
};

/// Chunks that are taken at once, and the sequences that they belong to. An empty sequence belongs to the
/// segment of the chunk that it stands before, or to the last one.
struct segment {
  index_t first, count;         ///< chunks
  index_t sequence, sequences;  ///< first, and how many
};
template <class T, class S>
segment segment_of(work<T, S> const& d, index_t first, index_t count, index_t all) {
  index_t const end = first + count;
  index_t i = 0, start = 0;
  auto const next = [&] { start += d.chunks_of(i++); };
  if (!d.packed()) {
    i = first / d.chunks_of(0);
    start = i * d.chunks_of(0);
  }
  while (start < first && start + d.chunks_of(i) <= first) next();
  index_t const from = i;
  while (i < d.sequences && (start < end || end == all)) next();
  return {first, count, from, i - from};
}
/// run(sub, segment, memory) for segments whose scratch fits into a slab, in order, or Backward from the last
/// one.
template <bool Backward, class B, class T, class S, class F>
void each_segment(B& be, work<T, S> const& d, bool own_states, F const& run) {
  index_t const all = d.chunks();
  be.tiles(all, segment_memory<T, S>::bytes(d, own_states), [&](auto& sub, index_t first, index_t count) {
    segment_memory<T, S> const m(sub, d, count, own_states);
    run(sub, segment_of(d, Backward ? all - first - count : first, count, all), m);
  });
}

template <class T, class V> cuda_kernels::scan_states<T> tape_states(V const& v) {
  return {v.ptr, v.str[0], v.str[1], 0, v.str[2], v.str[3], moves_packs(v)};
}
/// (numbers,H,N,P)
template <class T, class V> cuda_kernels::scan_states<T> numbered_states(V const& v) {
  return {v.ptr, 0, 0, v.str[0], v.str[1], v.str[2], moves_packs(v)};
}

template <class T> cuda_kernels::scan_states<T const> reading(cuda_kernels::scan_states<T> const& s) {
  return {s.ptr, s.sequence, s.chunk, s.number, s.head, s.row, s.packs};
}

/// The launches of one segment.
template <class B, class T, class S> struct launches {
  B& be;
  work<T, S> const& d;
  view<index_t, 1, S> table;

  double numbers(index_t chunks) const { return static_cast<double>(chunks * d.heads * d.n * d.p); }
  static unsigned blocks(index_t n) { return static_cast<unsigned>(n); }

  /// scale q k^T into (chunks,G,pairs,4096).
  void products(segment const& s, view<T, 4, S> to) const {
    double const size = static_cast<double>(s.count * d.groups * d.chunk);
    be.kernel("chunk_scan_products",
              {size * static_cast<double>(d.chunk * d.n),
               size * static_cast<double>(2 * d.n + d.chunk) * sizeof(T)},
              [&](cuda_launcher const& on) {
                cuda_kernels::with_products<T>(on.operands, [&]<class P>(P) {
                  on.launch({dim3(blocks(s.count), blocks(d.pairs()), blocks(d.groups)),
                             dim3(cuda_kernels::tile_threads), cuda_kernels::scan_memory<P>::bytes(0)},
                            cuda_kernels::scan_products<P>, d.places(table), s.first, d.sizes(), d.inputs(),
                            to.ptr);
                });
              });
  }
  /// The U of each chunk; FromStart: of q and dy instead of k and v.
  template <bool FromStart>
  void states(segment const& s, cuda_kernels::scan_inputs<T> const& x, cuda_kernels::scan_states<T> const& to,
              view<T, 2, S> whole, bool all) const {
    be.kernel(
        "chunk_scan_states",
        {2 * numbers(s.count) * static_cast<double>(d.chunk),
         (numbers(s.count) + static_cast<double>(s.count * d.chunk * (d.groups * d.n + d.heads * d.p))) *
             sizeof(T)},
        [&](cuda_launcher const& on) {
          cuda_kernels::with_products<T>(on.operands, [&]<class P>(P) {
            on.launch({dim3(blocks(s.count), blocks(d.heads), blocks(d.tiles(d.n) * d.tiles(d.p))),
                       dim3(cuda_kernels::tile_threads), cuda_kernels::scan_memory<P>::bytes(3 * d.chunk)},
                      cuda_kernels::scan_chunk_states<P, FromStart>, d.places(table), s.first, d.sizes(), x,
                      to, whole.ptr, all);
          });
        });
  }
  template <bool Backward>
  void pass(segment const& s, cuda_kernels::scan_states<T> const& states, view<T, 2, S> whole, bool decays,
            cuda_kernels::scan_ends<T> const& ends, cuda_kernels::scan_carry<T> const& carry,
            bool all) const {
    be.kernel("chunk_scan_pass", {2 * numbers(s.count), 2 * numbers(s.count) * sizeof(T)},
              [&](cuda_launcher const& on) {
                index_t const size = d.heads * d.n * d.p;
                on.launch(
                    {dim3(cuda_kernels::blocks_for(size, 256), blocks(std::min<index_t>(s.sequences, 65535))),
                     dim3(256)},
                    cuda_kernels::scan_pass_states<T, Backward>, d.places(table), s.first, s.count,
                    s.sequence, s.sequences, d.sizes(), states, decays ? whole.ptr : nullptr, ends, carry,
                    all);
              });
  }
  void outputs(segment const& s, cuda_kernels::scan_states<T const> const& states, view<T, 4, S> products,
               view<T, 4, S> y) const {
    double const size = static_cast<double>(s.count * d.chunk);
    be.kernel(
        "chunk_scan_outputs",
        {size * static_cast<double>(d.heads * d.p * (d.chunk + 2 * d.n)),
         (numbers(s.count) + size * static_cast<double>(2 * d.heads * d.p + d.groups * (d.n + d.chunk / 2))) *
             sizeof(T)},
        [&](cuda_launcher const& on) {
          cuda_kernels::with_products<T>(on.operands, [&]<class P>(P) {
            on.launch({dim3(blocks(s.count), blocks(d.heads), blocks(d.tiles(d.chunk) * d.tiles(d.p))),
                       dim3(cuda_kernels::tile_threads), cuda_kernels::scan_memory<P>::bytes(3 * d.chunk)},
                      cuda_kernels::scan_outputs<P>, d.places(table), s.first, d.sizes(), d.inputs(), states,
                      d.x.initial.size() != 0, products.ptr, d.pairs(), rows_of(y));
          });
        });
  }
};

template <class V> bool contiguous_rows(V const& v) {
  return v.size() == 0 || v.ext[V::rank - 1] == 1 || v.str[V::rank - 1] == 1;
}

template <class T, class I, class O> cuda_kernels::scan_ends<T> ends_of(I const& from, O const& to) {
  cuda_kernels::scan_ends<T> e{};
  if (from.size() != 0)
    e.from = from.ptr, e.from_sequence = from.str[0], e.from_head = from.str[1], e.from_row = from.str[2];
  if (to.size() != 0) e.to = to.ptr, e.to_sequence = to.str[0], e.to_head = to.str[1], e.to_row = to.str[2];
  return e;
}

/// One row for each batch entry: the states are read and written once.
template <class B, class T, class S>
void step(B& be, work<T, S> const& d, chunk_scan_forward_call<T, S> const& c) {
  double const size = static_cast<double>(d.batch * d.heads * d.n * d.p);
  be.kernel("chunk_scan_step", {5 * size, 2 * size * sizeof(T)}, [&](cuda_launcher const& on) {
    constexpr int pack = 16 / static_cast<int>(sizeof(T));
    auto const start = [&]<int W, bool Packs>(std::integral_constant<int, W>, std::bool_constant<Packs>) {
      on.launch({dim3(launches<B, T, S>::blocks(cuda_kernels::ceil_div(d.p, cuda_kernels::step_columns)),
                      launches<B, T, S>::blocks(d.heads),
                      launches<B, T, S>::blocks(std::min<index_t>(d.batch, 65535))),
                 dim3(cuda_kernels::step_threads)},
                cuda_kernels::scan_step<T, W, Packs>, d.sizes(), d.batch, d.inputs(),
                ends_of<T>(c.x.initial, c.final), rows_of(c.y));
    };
    // by the size alone, so that where an array lies changes no bit of y
    if (d.p % pack != 0)
      start(std::integral_constant<int, 1>{}, std::true_type{});
    else if (moves_packs(c.x.v) && moves_packs(c.y) && moves_packs(c.final) &&
             (c.x.initial.size() == 0 || moves_packs(c.x.initial)))
      start(std::integral_constant<int, pack>{}, std::true_type{});
    else
      start(std::integral_constant<int, pack>{}, std::false_type{});
  });
}

}  // namespace tuned_cuda_scan

template <class B, class T, class S>
requires OnCuda<B>
bool smx_tuned(B& be, chunk_scan_forward_call<T, S> const& c) {
  using namespace tuned_cuda_scan;
  // the rows that are there: the products of a chunk take memory by its rows
  work<T, S> const d(c.shape, c.x, std::max<index_t>(1, std::min(c.shape.chunk, c.x.v.ext[2])));
  bool const taped = c.states.size() != 0, keep = c.final.size() != 0;
  if (!d.fits() || !contiguous_rows(c.x.q) || !contiguous_rows(c.x.k) || !contiguous_rows(c.x.v) ||
      !contiguous_rows(c.y) || !contiguous_rows(c.x.initial) || !contiguous_rows(c.final) ||
      !contiguous_rows(c.states))
    return false;
  // a stream; otherwise a row must have the bits of a longer run
  if (keep && !taped && d.length == 1 && !d.packed()) {
    step(be, d, c);
    return true;
  }
  bool const follow = d.chunks_follow(), passes = keep || taped || c.x.initial.size() != 0 || follow;
  auto frame = be.scope();
  auto const table = place_table(be, d);
  carries<T, S> carry(be, d);
  each_segment<false>(be, d, passes && !taped,
                      [&](auto& sub, segment const& s, segment_memory<T, S> const& m) {
                        launches<std::remove_reference_t<decltype(sub)>, T, S> const run{sub, d, table};
                        auto const states = taped ? tape_states<T>(c.states) : numbered_states<T>(m.states);
                        run.products(s, m.products);
                        if (keep || follow) run.template states<false>(s, d.inputs(), states, m.whole, keep);
                        if (passes)
                          run.template pass<false>(s, states, m.whole, c.x.log_decay.size() != 0,
                                                   ends_of<T>(c.x.initial, c.final), carry.next(), keep);
                        run.outputs(s, reading(states), m.products, c.y);
                      });
  return true;
}

}  // namespace smx
