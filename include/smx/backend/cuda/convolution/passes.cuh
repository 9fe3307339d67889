// SPDX-License-Identifier: Apache-2.0
/// \file  What the programs of long convolutions share: where things lie in prepared storage and scratch,
/// slabs, and the launches.
///
/// Prepared storage: tables of roots, then the kernels' spectra over M, (D,I,M/I) complex: residue J of
/// channel d at (d, J mod I, J / I), so that transforms of one part, of halves and of two parts (I nodes)
/// read the same.
#pragma once

#include <algorithm>

#include <smx/backend/cuda/convolution/launch.cuh>
#include <smx/backend/tuned.hpp>

namespace smx::cuda_kernels {

template <class T> class convolution_passes {
 public:
  explicit convolution_passes(convolution_shape const& shape, convolution_limits const& limits)
      : shape_(shape), limits_(limits) {
    index_t const points = convolution_points(shape.length);
    split_ = split_points(points, limits.leaf);
    bool const one = points <= std::max(limits.across, limits.along);
    tables_.of[0] = one ? table_of<T>(points) : root_table{};
    if (split_.nodes > 1) tables_.of[1] = table_of<T>(split_.leaf), tables_.of[2] = table_of<T>(split_.nodes);
    if (in_halves()) tables_.of[3] = table_of<T>(points / 2);
  }

  /// Whether there are transforms of this size. It is the shape's alone: storage and all that reads it agree.
  bool takes() const {
    return !shape_.exact && shape_.length >= 1 && split_.points != 0 && split_.nodes != 0 &&
           shape_.channels < index_t{1} << 24;
  }
  index_t storage_size() const { return spectra_start() + 2 * split_.points * shape_.channels; }

  /// Channels first .. first + count - 1 of batch entries entry .. entry + entries - 1.
  struct range {
    index_t first, count, entry, entries;
  };

  bool one_part(bool across) const { return split_.points <= (across ? limits_.across : limits_.along); }
  /// Whether forward takes the two factors of t^(2m) - i one after the other, where positions are neighbours.
  bool in_halves() const { return split_.points <= limits_.halves && has_halves<T>(split_.points); }
  /// I of the stored spectra; 4 where one part and halves read them.
  index_t interleaved() const { return split_.nodes > 1 ? split_.nodes : split_.points >= 4096 ? 4 : 1; }
  template <class V> static bool channels_are_neighbours(V const& x) {
    auto const size = [](index_t n) { return n < 0 ? -n : n; };
    return x.ext[3] > 1 && (x.ext[2] == 1 || size(x.str[3]) < size(x.str[2]));
  }
  static void expects_pairs(T const* storage) {
    expects(reinterpret_cast<std::uintptr_t>(storage) % (2 * sizeof(T)) == 0,
            "long_convolution: prepared kernels: expected an address that is a multiple of two numbers");
  }
  index_t spectra_start() const { return ceil_div(2 * tables_.start(root_tables::most), 64) * 64; }
  index_t scratch_size(range const& r) const { return 2 * split_.points * r.count * r.entries; }

  /// f(range) for slabs: as many channels as fit, in eights where they are neighbours, of as many batch
  /// entries as fit, or of all where `buffers` for a whole batch are needed. A plan sees contiguous arrays;
  /// where positions are neighbours, no more is taken.
  template <class F> void each_range(bool across, index_t batch, index_t buffers, F const& f) const {
    index_t const bytes = 2 * split_.points * static_cast<index_t>(sizeof(T)) * std::max(buffers, index_t{1}),
                  fit = std::max(index_t{1}, static_cast<index_t>(limits_.slab_bytes) / bytes);
    index_t const unit = std::min(index_t{8}, shape_.channels);
    index_t count = std::clamp(fit / batch / unit * unit, unit, shape_.channels);
    if (!across && buffers > 0) count = std::min(count, std::max(fit / batch, index_t{1}));
    count = std::min(count, (index_t{1} << 31) / split_.points);
    index_t const entries = buffers > 0 ? batch : std::clamp(fit / count, index_t{1}, batch);
    for (index_t c = 0; c < shape_.channels; c += count)
      for (index_t b = 0; b < batch; b += entries)
        f(range{c, std::min(count, shape_.channels - c), b, std::min(entries, batch - b)});
  }

  /// f(range) without scratch: everything, in pieces only where a grid would not take it.
  template <class F> void each_grid(index_t batch, F const& f) const {
    index_t const entries = std::max(index_t{1}, (index_t{1} << 30) / shape_.channels);
    for (index_t b = 0; b < batch; b += entries)
      f(range{0, shape_.channels, b, std::min(entries, batch - b)});
  }

  convolution_job<T> job_for(T const* storage, range const& r, index_t heads) const {
    convolution_job<T> job;
    job.batch = static_cast<unsigned>(r.entries);
    expects_value(heads < index_t{1} << 31, "long_convolution: x", "fewer than 2^31 heads; heads", heads);
    job.first_head = static_cast<unsigned>(r.entry % heads);
    job.heads = static_cast<unsigned>(heads);
    job.nodes = static_cast<unsigned>(split_.nodes);
    job.length = shape_.length;
    job.table = storage;
    return job;
  }

  /// An array of the caller, from the range's first channel and batch entry on.
  template <class V> static auto signals(V const& v, range const& r) {
    using element = typename V::element_type;
    if (v.ext[3] == 0) return real_signals<element>{};
    index_t const start = r.first * v.str[3] + r.entry / v.ext[1] * v.str[0];
    return real_signals<element>{
        smx::detail::advance(v.ptr, start), v.str[0], v.str[1], v.str[2], v.str[3], true};
  }
  /// A convolution's kernel, from channel `first` on.
  template <class K, class V>
  tap_signals<T> taps(K const& k, K const& k_rev, V const& skip, index_t first) const {
    index_t const m = split_.points, length = shape_.length, count = std::min(shape_.taps, length);
    auto const signal = [&](K const& v, index_t at, index_t direction) {
      return real_signals<T const>{smx::detail::advance(v.ptr, first * v.str[0] + at * v.str[1]),
                                   0,
                                   0,
                                   direction * v.str[1],
                                   v.str[0],
                                   true};
    };
    tap_signals<T> t;
    t.low = signal(k, 0, 1);
    t.low_end = count;
    if (shape_.kind == convolution_kind::bidirectional) {  // lag -l at M - l
      t.high = signal(k_rev, m - 1, -1);
      t.high_first = m - std::min(count, length - 1);
      t.high_end = m;
    }
    if (shape_.kind == convolution_kind::circular) {  // tap l also stands for lag l - L, at M + l - L
      t.high = signal(k, length - m, 1);
      t.high_first = m - length + 1;
      t.high_end = m - length + count;
    }
    if (skip.ext[0] != 0) t.skip = smx::detail::advance(skip.ptr, first);
    return t;
  }
  template <class P> auto spectra(P* storage, range const& r, bool whole) const {
    complex_signals<P> v;
    v.ptr = smx::detail::advance(storage, spectra_start() + 2 * split_.points * r.first);
    v.channel = split_.points;
    v.column = whole ? 0 : split_.leaf;
    v.position = 1;
    v.folded = split_.points / interleaved();
    v.fold = whole ? log2_of(interleaved()) : 0;
    v.there = true;
    return v;
  }
  /// Scratch (entries,C,M), or (entries,M,C) where channels are neighbours; in parts, M is (nodes,leaf).
  complex_signals<T> scratch(T* ptr, bool across, range const& r) const {
    complex_signals<T> v;
    v.ptr = ptr;
    v.batch = split_.points * r.count;
    v.channel = across ? 1 : split_.points;
    v.position = across ? r.count : 1;
    v.there = true;
    return v;
  }
  complex_signals<T> columns(T* ptr, bool across, range const& r) const {
    complex_signals<T> v = scratch(ptr, across, r);
    v.column = v.position;
    v.position *= split_.leaf;
    return v;
  }
  complex_signals<T> leaves(T* ptr, bool across, range const& r) const {
    complex_signals<T> v = scratch(ptr, across, r);
    v.column = v.position * split_.leaf;
    return v;
  }
  static complex_signals<T const> as_source(complex_signals<T> const& v) {
    return {v.ptr, v.batch, v.channel, v.column, v.position, v.folded, v.fold, v.there};
  }

  /// Transforms of one part.
  template <class B>
  void whole(B& be, char const* name, convolution_job<T> job, bool across, range const& r) const {
    job.fast = job.lanes = static_cast<unsigned>(r.count);
    if (!across || !limits_.clusters || !has_cluster_tile<T>(split_.points))
      return run(be, name, job, split_.points, across, 1, r);
    be.kernel(name, cost_of(job, split_.points, r),
              [&](cuda_launcher const& on) { launch_clusters<T>(on, split_.points, job); });
  }
  template <class B> void halves(B& be, convolution_job<T> job, range const& r) const {
    job.table = smx::detail::advance(job.table, 2 * tables_.start(3));
    job.fast = job.lanes = static_cast<unsigned>(r.count);
    job.spectrum.column = job.spectrum.folded;  // from factor to factor
    job.spectrum.folded *= 2;
    --job.spectrum.fold;
    be.kernel("convolution", cost_of(job, split_.points, r),
              [&](cuda_launcher const& on) { launch_halves<T>(on, split_.points, job); });
  }
  /// The columns of a transform of two parts: every lane is one, whatever its channel.
  template <class B>
  void first_part(B& be, char const* name, convolution_job<T> job, bool across, range const& r) const {
    job.table = smx::detail::advance(job.table, 2 * tables_.start(2));
    job.fast = static_cast<unsigned>(across ? r.count : split_.leaf);
    job.lanes = static_cast<unsigned>(r.count * split_.leaf);
    job.channels_fast = across;
    job.step = split_.leaf;
    run(be, name, job, split_.nodes, true, 1, r);
  }
  template <class B>
  void second_part(B& be, char const* name, convolution_job<T> job, bool across, range const& r) const {
    job.table = smx::detail::advance(job.table, 2 * tables_.start(1));
    job.fast = job.lanes = static_cast<unsigned>(r.count);
    job.second_part = true;
    run(be, name, job, split_.leaf, across, static_cast<unsigned>(split_.nodes), r);
  }

  kernel_cost cost_of(convolution_job<T> const& job, index_t points, range const& r) const {
    double const signals = static_cast<double>(r.count * r.entries),
                 entries = signals * static_cast<double>(shape_.length),
                 pairs = 2 * signals * static_cast<double>(split_.points),
                 spectrum = 2 * static_cast<double>(r.count * split_.points);
    auto const there = [](auto const& v) { return v.there ? 1.0 : 0.0; };
    return {
        (job.last - job.first + 1) * 3 * pairs * log2_of(points),
        static_cast<double>(sizeof(T)) *
            (entries * (there(job.x) + there(job.gate) + there(job.y[0]) + there(job.y[1]) +
                        there(job.y_gate[0]) + there(job.y_gate[1])) +
             pairs * (static_cast<double>(job.summed) * there(job.from) + there(job.to) + there(job.other) +
                      there(job.lags)) +
             spectrum * there(job.spectrum) +
             static_cast<double>(r.count * (job.taps.low_end + job.taps.high_end - job.taps.high_first)))};
  }
  template <class B>
  void run(B& be, char const* name, convolution_job<T> const& job, index_t points, bool across, unsigned rows,
           range const& r) const {
    be.kernel(name, cost_of(job, points, r), [&](cuda_launcher const& on) {
      launch_tiles<T>(on, points, across && has_room_across<T>(points, limits_.block_bytes), job, rows);
    });
  }

  convolution_shape const& shape() const { return shape_; }
  convolution_split const& split() const { return split_; }
  root_tables const& tables() const { return tables_; }

 private:
  convolution_shape shape_;
  convolution_limits limits_;
  convolution_split split_;
  root_tables tables_;
};

}  // namespace smx::cuda_kernels
