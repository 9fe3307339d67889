// SPDX-License-Identifier: Apache-2.0
/// \file  Long convolutions and their gradients as jobs of one kernel (see kernel.cuh, tile.hpp).
///
/// Prepared storage: tables of roots, then the kernels' spectra over M, (D,nodes,leaf) complex: residue J of
/// channel d at (d, J mod nodes, J / nodes), so that a transform of one part and one of two read the same.
///
/// Backward, with w = pre x, dc = dy post: the spectra of w go to scratch; dpost = dy conv(w); the spectrum
/// of dc times the conjugates of w's replaces these, times the conjugate of the kernel's it becomes dw; the
/// sum over the batch, in order, is transformed back to lags, which are added to the kernels' gradients.
#pragma once

#include <algorithm>

#include <smx/backend/cuda/convolution/launch.cuh>

namespace smx::cuda_kernels {

/// sum + factor x
template <class T> struct add_scaled_by {
  T factor;
  SMX_HD constexpr T operator()(T sum, T x) const { return sum + factor * x; }
};

template <class B, class T> class convolution_program {
 public:
  template <int R> using read = in<B, T, R>;
  template <int R> using write = out<B, T, R>;

  explicit convolution_program(convolution_shape const& shape,
                               convolution_limits const& limits = limits_of<T>())
      : shape_(shape), limits_(limits) {
    index_t const points = convolution_points(shape.length);
    split_ = split_points(points, limits.leaf);
    bool const one = points <= std::max(limits.across, limits.along);
    tables_.of[0] = one ? table_of<T>(points) : root_table{};
    if (split_.nodes > 1) tables_.of[1] = table_of<T>(split_.leaf), tables_.of[2] = table_of<T>(split_.nodes);
  }

  /// Whether there are transforms of this size; grids have less than 2^31 blocks.
  bool takes(index_t batch) const {
    return !shape_.exact && shape_.length >= 1 && split_.points != 0 && split_.nodes != 0 &&
           shape_.channels < index_t{1} << 24 && batch < index_t{1} << 24 &&
           shape_.channels * batch < index_t{1} << 31;
  }
  index_t storage_size() const { return spectra_start() + 2 * split_.points * shape_.channels; }

  void prepare(B& be, read<2> k, read<2> k_rev, read<1> skip, write<1> storage) const {
    expects_pairs(storage.ptr);
    if (index_t const n = tables_.start(root_tables::most); n > 0)
      be.generate(tables_, slice(storage, 0, 0, 2 * n));
    range const all{0, shape_.channels, 0, 1};
    convolution_job<T> job = job_for(storage.ptr, all, 1);
    job.taps = {
        k.ptr,        k_rev.ptr,    skip.ext[0] == 0 ? nullptr : skip.ptr, k.str[0],      k.str[1],
        k_rev.str[0], k_rev.str[1], std::min(shape_.taps, shape_.length),  split_.points, shape_.kind};
    job.last = 0;
    job.scale = T(1) / static_cast<T>(split_.points);
    bool const across = false;
    if (one_part(across)) {
      job.to = spectra(storage.ptr, all, true);
      return whole(be, "convolution_spectrum", job, across, all);
    }
    each_range(across, 1, false, [&](range const& r) {
      auto frame = be.scope();
      T* const scratch = be.template scratch<T>(extents<1>{scratch_size(r)}).ptr;
      convolution_job<T> first = job, second = job;
      first.taps = taps_from(job.taps, r.first);
      first.to = columns(scratch, across, r);
      first.scale = 1;
      first_part(be, "convolution_spectrum_columns", first, across, r);
      second.from = as_source(leaves(scratch, across, r));
      second.to = spectra(storage.ptr, r, false);
      second_part(be, "convolution_spectrum", second, across, r);
    });
  }

  void forward(B& be, read<1> storage, read<4> x, read<4> pre, read<4> post, write<4> y) const {
    if (x.size() == 0) return;
    expects_pairs(storage.ptr);
    bool const across = channels_are_neighbours(x);
    index_t const batch = x.ext[0] * x.ext[1];
    if (one_part(across)) {
      range const all{0, shape_.channels, 0, batch};
      convolution_job<T> job = job_for(storage.ptr, all, x.ext[1]);
      job.x = signals(x, 0), job.gate = signals(pre, 0);
      job.y[0] = signals(y, 0), job.y_gate[0] = signals(post, 0);
      job.spectrum = spectra(storage.ptr, all, true);
      return whole(be, "convolution", job, across, all);
    }
    each_range(across, batch, false, [&](range const& r) {
      auto frame = be.scope();
      T* const scratch = be.template scratch<T>(extents<1>{scratch_size(r)}).ptr;
      analyse_columns(be, storage.ptr, across, r, x.ext[1], x, pre, scratch);
      convolution_job<T> job = job_for(storage.ptr, r, x.ext[1]);
      job.from = as_source(leaves(scratch, across, r));
      job.spectrum = spectra(storage.ptr, r, false);
      job.to = leaves(scratch, across, r);
      second_part(be, "convolution_leaves", job, across, r);
      synthesise_columns(be, storage.ptr, across, r, x.ext[1], scratch, y, post, {}, {});
    });
  }

  struct gradients {
    write<2> k, k_rev;
    write<1> skip;
    write<4> x, pre, post;
  };

  void backward(B& be, read<1> storage, read<4> x, read<4> pre, read<4> post, read<4> dy,
                gradients const& d) const {
    if (x.size() == 0) return;
    expects_pairs(storage.ptr);
    bool const across = channels_are_neighbours(x), one = one_part(across);
    index_t const heads = x.ext[1];
    each_range(across, x.ext[0] * heads, true, [&](range const& all) {
      auto frame = be.scope();
      T* const w = be.template scratch<T>(extents<1>{scratch_size(all)}).ptr;
      if (one)
        backward_whole(be, storage.ptr, across, all, heads, x, pre, post, dy, d, w);
      else
        backward_parts(be, storage.ptr, across, all, heads, x, pre, post, dy, d, w);
      add_lags(be, d, w, all, lags_of(w, across, all));
    });
  }

 private:
  /// Channels first .. first + count - 1 of batch entries entry .. entry + entries - 1.
  struct range {
    index_t first, count, entry, entries;
  };

  bool one_part(bool across) const { return split_.points <= (across ? limits_.across : limits_.along); }
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

  /// f(range) for slabs: as many batch entries as fit, or all, and as many channels, in eights where they are
  /// neighbours.
  template <class F> void each_range(bool across, index_t batch, bool whole_batch, F const& f) const {
    index_t const bytes = 2 * split_.points * static_cast<index_t>(sizeof(T)),
                  fit = std::max(index_t{1}, static_cast<index_t>(limits_.slab_bytes) / bytes);
    index_t const unit = across ? std::min(index_t{8}, shape_.channels) : 1;
    index_t count = std::clamp(fit / batch / unit * unit, unit, shape_.channels);
    count = std::min(count, (index_t{1} << 31) / split_.points);
    index_t const entries = whole_batch ? batch : std::clamp(fit / count, index_t{1}, batch);
    for (index_t c = 0; c < shape_.channels; c += count)
      for (index_t b = 0; b < batch; b += entries)
        f(range{c, std::min(count, shape_.channels - c), b, std::min(entries, batch - b)});
  }

  convolution_job<T> job_for(T const* storage, range const& r, index_t heads) const {
    convolution_job<T> job;
    job.batch = static_cast<unsigned>(r.entries);
    job.first_entry = static_cast<unsigned>(r.entry);
    job.heads = static_cast<unsigned>(heads);
    job.nodes = static_cast<unsigned>(split_.nodes);
    job.length = shape_.length;
    job.table = storage;
    return job;
  }

  /// The arrays of the caller, from channel `first` on.
  template <class V> static auto signals(V const& v, index_t first) {
    using element = typename V::element_type;
    if (v.ext[3] == 0) return real_signals<element>{};
    return real_signals<element>{smx::detail::advance(v.ptr, first * v.str[3]), v.str[0], v.str[1], v.str[2],
                                 v.str[3]};
  }
  static tap_signals<T> taps_from(tap_signals<T> v, index_t first) {
    v.k = smx::detail::advance(v.k, first * v.k_channel);
    v.k_rev = smx::detail::advance(v.k_rev, first * v.rev_channel);
    v.skip = smx::detail::advance(v.skip, first);
    return v;
  }
  template <class P> auto spectra(P* storage, range const& r, bool whole) const {
    complex_signals<P> v;
    v.ptr = smx::detail::advance(storage, spectra_start() + 2 * split_.points * r.first);
    v.channel = split_.points;
    v.column = whole ? 0 : split_.leaf;
    v.position = 1;
    v.folded = split_.leaf;
    v.fold = whole ? log2_of(split_.nodes) : 0;
    return v;
  }
  /// Scratch (entries,C,M), or (entries,M,C) where channels are neighbours; in parts, M is (nodes,leaf).
  complex_signals<T> scratch(T* ptr, bool across, range const& r) const {
    complex_signals<T> v;
    v.ptr = ptr;
    v.batch = split_.points * r.count;
    v.channel = across ? 1 : split_.points;
    v.position = across ? r.count : 1;
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
  complex_signals<T> lags_of(T* w, bool across, range const& r) const {
    return scratch(w, across && !one_part(across), r);
  }
  static complex_signals<T const> as_source(complex_signals<T> const& v) {
    return {v.ptr, v.batch, v.channel, v.column, v.position, v.folded, v.fold};
  }

  /// Transforms of one part.
  void whole(B& be, char const* name, convolution_job<T> job, bool across, range const& r) const {
    job.fast = job.lanes = static_cast<unsigned>(r.count);
    run(be, name, job, split_.points, across, 1, r);
  }
  /// The columns of a transform of two parts: every lane is one, whatever its channel.
  void first_part(B& be, char const* name, convolution_job<T> job, bool across, range const& r) const {
    job.table = smx::detail::advance(job.table, 2 * tables_.start(2));
    job.fast = static_cast<unsigned>(across ? r.count : split_.leaf);
    job.lanes = static_cast<unsigned>(r.count * split_.leaf);
    job.channels_fast = across;
    job.step = split_.leaf;
    run(be, name, job, split_.nodes, true, 1, r);
  }
  void second_part(B& be, char const* name, convolution_job<T> job, bool across, range const& r) const {
    job.table = smx::detail::advance(job.table, 2 * tables_.start(1));
    job.fast = job.lanes = static_cast<unsigned>(r.count);
    job.second_part = true;
    run(be, name, job, split_.leaf, across, static_cast<unsigned>(split_.nodes), r);
  }

  void run(B& be, char const* name, convolution_job<T> const& job, index_t points, bool across, unsigned rows,
           range const& r) const {
    double const signals = static_cast<double>(r.count * r.entries),
                 entries = signals * static_cast<double>(shape_.length),
                 pairs = 2 * signals * static_cast<double>(split_.points),
                 spectrum = 2 * static_cast<double>(r.count * split_.points);
    auto const there = [](auto const& v) { return v.ptr != nullptr ? 1.0 : 0.0; };
    double const flops = (job.last - job.first + 1) * 3 * pairs * log2_of(points);
    kernel_cost const cost{
        flops, static_cast<double>(sizeof(T)) *
                   (entries * (there(job.x) + there(job.gate) + there(job.y[0]) + there(job.y[1]) +
                               there(job.y_gate[0]) + there(job.y_gate[1])) +
                    pairs * (there(job.from) + there(job.to) + 2 * there(job.lags)) +
                    spectrum * there(job.spectrum))};
    be.kernel(name, cost, [&](cuda_launcher const& on) { launch_tiles<T>(on, points, across, job, rows); });
  }

  /// Columns of x gate, transformed, to scratch.
  void analyse_columns(B& be, T const* storage, bool across, range const& r, index_t heads, read<4> x,
                       read<4> gate, T* to) const {
    convolution_job<T> job = job_for(storage, r, heads);
    job.x = signals(x, r.first), job.gate = signals(gate, r.first);
    job.to = columns(to, across, r);
    job.last = 0;
    first_part(be, "convolution_columns", job, across, r);
  }
  /// Scratch, transformed back, times one or two gates.
  void synthesise_columns(B& be, T const* storage, bool across, range const& r, index_t heads, T* from,
                          write<4> y, read<4> gate, write<4> second, read<4> second_gate) const {
    convolution_job<T> job = job_for(storage, r, heads);
    job.from = as_source(columns(from, across, r));
    job.first = 1;
    deliver(job, r, y, gate, second, second_gate);
    first_part(be, "convolution_columns_back", job, across, r);
  }
  static void deliver(convolution_job<T>& job, range const& r, write<4> y, read<4> gate, write<4> second,
                      read<4> second_gate) {
    job.y[0] = signals(y, r.first), job.y_gate[0] = signals(gate, r.first);
    job.y[1] = signals(second, r.first), job.y_gate[1] = signals(second_gate, r.first);
  }

  void backward_whole(B& be, T const* storage, bool across, range const& r, index_t heads, read<4> x,
                      read<4> pre, read<4> post, read<4> dy, gradients const& d, T* w) const {
    complex_signals<T> const spectra_of_w = scratch(w, false, r);
    convolution_job<T> analyse = job_for(storage, r, heads), gate = analyse, adjoint = analyse,
                       back = analyse;
    analyse.x = signals(x, r.first), analyse.gate = signals(pre, r.first);
    analyse.to = spectra_of_w;
    analyse.last = 0;
    whole(be, "convolution_spectra", analyse, across, r);
    if (d.post.ext[3] != 0) {
      gate.from = as_source(spectra_of_w);
      gate.spectrum = spectra(storage, r, true);
      gate.first = 1;
      deliver(gate, r, d.post, dy, {}, {});
      whole(be, "convolution_dpost", gate, across, r);
    }
    adjoint.x = signals(dy, r.first), adjoint.gate = signals(post, r.first);
    adjoint.lags = spectra_of_w;
    adjoint.spectrum = spectra(storage, r, true);
    adjoint.conjugate = true;
    deliver(adjoint, r, d.x, pre, d.pre, x);
    whole(be, "convolution_adjoint", adjoint, across, r);
    back.from = as_source(spectra_of_w);
    back.to = spectra_of_w;
    sum_batch(back);
    whole(be, "convolution_lags", back, false, one_entry(r));
  }

  void backward_parts(B& be, T const* storage, bool across, range const& r, index_t heads, read<4> x,
                      read<4> pre, read<4> post, read<4> dy, gradients const& d, T* w) const {
    T* const dc = be.template scratch<T>(extents<1>{scratch_size(r)}).ptr;
    convolution_job<T> spectra_of_w = job_for(storage, r, heads), gate = spectra_of_w, adjoint = spectra_of_w,
                       back = spectra_of_w;
    analyse_columns(be, storage, across, r, heads, x, pre, w);
    spectra_of_w.from = as_source(leaves(w, across, r));
    spectra_of_w.to = leaves(w, across, r);
    spectra_of_w.last = 0;
    second_part(be, "convolution_spectra", spectra_of_w, across, r);
    if (d.post.ext[3] != 0) {
      gate.from = as_source(leaves(w, across, r));
      gate.spectrum = spectra(storage, r, false);
      gate.to = leaves(dc, across, r);
      gate.first = 1;
      second_part(be, "convolution_dpost", gate, across, r);
      synthesise_columns(be, storage, across, r, heads, dc, d.post, dy, {}, {});
    }
    analyse_columns(be, storage, across, r, heads, dy, post, dc);
    adjoint.from = as_source(leaves(dc, across, r));
    adjoint.to = leaves(dc, across, r);
    adjoint.lags = leaves(w, across, r);
    adjoint.spectrum = spectra(storage, r, false);
    adjoint.conjugate = true;
    second_part(be, "convolution_adjoint", adjoint, across, r);
    synthesise_columns(be, storage, across, r, heads, dc, d.x, pre, d.pre, x);

    back.from = as_source(leaves(w, across, r));
    back.to = leaves(w, across, r);
    sum_batch(back);
    second_part(be, "convolution_lags", back, across, one_entry(r));
    convolution_job<T> lags = job_for(storage, one_entry(r), 1);
    lags.from = as_source(columns(w, across, r));
    lags.to = columns(w, across, r);
    lags.first = 1;
    first_part(be, "convolution_lags_columns", lags, across, one_entry(r));
  }

  static range one_entry(range r) {
    r.entries = 1;
    return r;
  }
  /// The inverse of the sum of all batch entries, in order.
  static void sum_batch(convolution_job<T>& job) {
    job.summed = job.batch;
    job.batch = 1;
    job.first = 1;
  }

  /// Adds the lags, M complex numbers times M a channel, to the gradients of the kernels.
  void add_lags(B& be, gradients const& d, T* w, range const& r, complex_signals<T> const& lags) const {
    index_t const m = split_.points, length = shape_.length, taps = std::min(shape_.taps, length);
    T const scale = T(1) / static_cast<T>(m);
    using rows = write<2>;  // (C,lags)
    auto const part = [&](int imaginary, index_t first, index_t count, index_t direction) {
      return rows(smx::detail::advance(w, 2 * first * lags.position + imaginary), {r.count, count},
                  {2 * lags.channel, 2 * direction * lags.position});
    };
    auto const add = [&](write<2> to, index_t first, T factor, rows from) {
      if (to.ext[0] == 0 || from.ext[1] <= 0) return;
      rows const entries = slice(slice(to, 0, r.first, r.count), 1, first, from.ext[1]);
      be.map(add_scaled_by<T>{factor}, entries, as_input(entries), as_input(from));
    };
    add(d.k, 0, scale, part(0, 0, taps, 1));
    if (shape_.kind == convolution_kind::bidirectional)
      add(d.k_rev, 0, -scale, part(1, m - 1, std::min(taps, length - 1), -1));
    if (shape_.kind == convolution_kind::circular) add(d.k, 1, -scale, part(1, m - length + 1, taps - 1, 1));
    if (d.skip.ext[0] != 0) {
      write<1> const entries = slice(d.skip, 0, r.first, r.count);
      be.map(add_scaled_by<T>{scale}, entries, as_input(entries), as_input(fix_axis(part(0, 0, 1, 1), 1, 0)));
    }
  }

  convolution_shape shape_;
  convolution_limits limits_;
  convolution_split split_;
  root_tables tables_;
};

}  // namespace smx::cuda_kernels
