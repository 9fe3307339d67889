// SPDX-License-Identifier: Apache-2.0
/// \file  Long convolutions and their gradients as jobs of one kernel (see kernel.cuh, tile.hpp).
///
/// Backward, with w = pre x, dc = dy post: the spectra of w go to scratch; that of dc times the conjugate of
/// the kernel's becomes dw, times the conjugates of w's the lags, whose sum over the batch, in order, is
/// transformed back and added to the kernels' gradients. dpost = dy conv(w) comes last: it may lie where post
/// does.
#pragma once

#include <smx/backend/cuda/convolution/passes.cuh>

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

  convolution_program(convolution_shape const& shape, convolution_limits const& limits)
      : with_(shape, limits) {}

  bool takes() const { return with_.takes(); }
  index_t storage_size() const { return with_.storage_size(); }

  void prepare(B& be, read<2> k, read<2> k_rev, read<1> skip, write<1> storage) const {
    with_.expects_pairs(storage.ptr);
    if (index_t const n = with_.tables().start(root_tables::most); n > 0)
      be.generate(with_.tables(), slice(storage, 0, 0, 2 * n));
    range const all{0, with_.shape().channels, 0, 1};
    convolution_job<T> job = with_.job_for(storage.ptr, all, 1);
    job.taps = with_.taps(k, k_rev, skip, 0);
    job.last = 0;
    job.scale = T(1) / static_cast<T>(with_.split().points);
    bool const across = false;
    if (with_.one_part(across)) {
      job.to = with_.spectra(storage.ptr, all, true);
      return with_.whole(be, "convolution_spectrum", job, across, all);
    }
    with_.each_range(across, 1, 0, [&](range const& r) {
      auto frame = be.scope();
      T* const scratch = be.template scratch<T>(extents<1>{with_.scratch_size(r)}).ptr;
      convolution_job<T> first = job, second = job;
      first.taps = with_.taps(k, k_rev, skip, r.first);
      first.to = with_.columns(scratch, across, r);
      first.scale = 1;
      with_.first_part(be, "convolution_spectrum_columns", first, across, r);
      second.from = with_.as_source(with_.leaves(scratch, across, r));
      second.to = with_.spectra(storage.ptr, r, false);
      with_.second_part(be, "convolution_spectrum", second, across, r);
    });
  }

  void forward(B& be, read<1> storage, read<4> x, read<4> pre, read<4> post, write<4> y) const {
    if (x.size() == 0) return;
    with_.expects_pairs(storage.ptr);
    bool const across = with_.channels_are_neighbours(x);
    index_t const batch = x.ext[0] * x.ext[1];
    if (with_.one_part(across) || (!across && with_.in_halves()))
      return with_.each_grid(batch, [&](range const& r) {
        convolution_job<T> job = with_.job_for(storage.ptr, r, x.ext[1]);
        job.x = with_.signals(x, r), job.gate = with_.signals(pre, r);
        deliver(job, r, y, post, {}, {});
        job.spectrum = with_.spectra(storage.ptr, r, true);
        convolve(be, job, across, r);
      });
    with_.each_range(across, batch, 0, [&](range const& r) {
      auto frame = be.scope();
      T* const scratch = be.template scratch<T>(extents<1>{with_.scratch_size(r)}).ptr;
      analyse_columns(be, storage.ptr, across, r, x.ext[1], x, pre, scratch);
      convolution_job<T> job = with_.job_for(storage.ptr, r, x.ext[1]);
      job.from = with_.as_source(with_.leaves(scratch, across, r));
      job.spectrum = with_.spectra(storage.ptr, r, false);
      job.to = with_.leaves(scratch, across, r);
      with_.second_part(be, "convolution_leaves", job, across, r);
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
    with_.expects_pairs(storage.ptr);
    bool const across = with_.channels_are_neighbours(x), one = with_.one_part(across);
    bool const gated = d.post.ext[3] != 0;
    index_t const heads = x.ext[1], buffers = 1 + (gated ? 1 : 0) + (with_.one_part(true) ? 0 : 1);
    with_.each_range(across, x.ext[0] * heads, buffers, [&](range const& all) {
      auto frame = be.scope();
      auto const take = [&] { return be.template scratch<T>(extents<1>{with_.scratch_size(all)}).ptr; };
      T* const w = take();
      T* const lags = gated ? take() : w;
      if (one)
        backward_whole(be, storage.ptr, across, all, heads, x, pre, post, dy, d, w, lags);
      else
        backward_parts(be, storage.ptr, across, all, heads, x, pre, post, dy, d, w, lags, take());
      add_lags(be, d, lags, all, with_.scratch(lags, across && !one, all));
    });
  }

 private:
  using range = typename convolution_passes<T>::range;

  /// A job of one part, or of halves.
  void convolve(B& be, convolution_job<T> const& job, bool across, range const& r) const {
    if (!across && with_.in_halves())
      with_.halves(be, job, r);
    else
      with_.whole(be, "convolution", job, across, r);
  }

  /// Columns of x gate, transformed, to scratch.
  void analyse_columns(B& be, T const* storage, bool across, range const& r, index_t heads, read<4> x,
                       read<4> gate, T* to) const {
    convolution_job<T> job = with_.job_for(storage, r, heads);
    job.x = with_.signals(x, r), job.gate = with_.signals(gate, r);
    job.to = with_.columns(to, across, r);
    job.last = 0;
    with_.first_part(be, "convolution_columns", job, across, r);
  }
  /// Scratch, transformed back, times one or two gates.
  void synthesise_columns(B& be, T const* storage, bool across, range const& r, index_t heads, T* from,
                          write<4> y, read<4> gate, write<4> second, read<4> second_gate) const {
    convolution_job<T> job = with_.job_for(storage, r, heads);
    job.from = with_.as_source(with_.columns(from, across, r));
    job.first = 1;
    deliver(job, r, y, gate, second, second_gate);
    with_.first_part(be, "convolution_columns_back", job, across, r);
  }
  void deliver(convolution_job<T>& job, range const& r, write<4> y, read<4> gate, write<4> second,
               read<4> second_gate) const {
    job.y[0] = with_.signals(y, r), job.y_gate[0] = with_.signals(gate, r);
    job.y[1] = with_.signals(second, r), job.y_gate[1] = with_.signals(second_gate, r);
  }

  void backward_whole(B& be, T const* storage, bool across, range const& r, index_t heads, read<4> x,
                      read<4> pre, read<4> post, read<4> dy, gradients const& d, T* w, T* lags) const {
    complex_signals<T> const of_w = with_.scratch(w, false, r), of_lags = with_.scratch(lags, false, r);
    convolution_job<T> const job = with_.job_for(storage, r, heads);
    convolution_job<T> analyse = job, adjoint = job, gate = job, back = job;
    analyse.x = with_.signals(x, r), analyse.gate = with_.signals(pre, r);
    analyse.to = of_w;
    analyse.last = 0;
    with_.whole(be, "convolution_spectra", analyse, across, r);

    adjoint.x = with_.signals(dy, r), adjoint.gate = with_.signals(post, r);
    adjoint.other = with_.as_source(of_w), adjoint.lags = of_lags;
    adjoint.spectrum = with_.spectra(storage, r, true);
    adjoint.conjugate = true;
    deliver(adjoint, r, d.x, pre, d.pre, x);
    with_.whole(be, "convolution_adjoint", adjoint, across, r);

    if (d.post.ext[3] != 0) {
      gate.from = with_.as_source(of_w);
      gate.spectrum = with_.spectra(storage, r, true);
      gate.first = 1;
      deliver(gate, r, d.post, dy, {}, {});
      with_.whole(be, "convolution_dpost", gate, across, r);
    }
    back.from = with_.as_source(of_lags);
    back.to = of_lags;
    sum_entries(back);
    with_.whole(be, "convolution_lags", back, false, one_entry(r));
  }

  void backward_parts(B& be, T const* storage, bool across, range const& r, index_t heads, read<4> x,
                      read<4> pre, read<4> post, read<4> dy, gradients const& d, T* w, T* lags, T* dc) const {
    complex_signals<T> const of_w = with_.leaves(w, across, r), of_lags = with_.leaves(lags, across, r),
                             of_dc = with_.leaves(dc, across, r);
    convolution_job<T> const job = with_.job_for(storage, r, heads);
    convolution_job<T> analyse = job, adjoint = job, gate = job, back = job;
    analyse_columns(be, storage, across, r, heads, x, pre, w);
    analyse.from = with_.as_source(of_w);
    analyse.to = of_w;
    analyse.last = 0;
    with_.second_part(be, "convolution_spectra", analyse, across, r);

    analyse_columns(be, storage, across, r, heads, dy, post, dc);
    adjoint.from = with_.as_source(of_dc);
    adjoint.to = of_dc;
    adjoint.other = with_.as_source(of_w), adjoint.lags = of_lags;
    adjoint.spectrum = with_.spectra(storage, r, false);
    adjoint.conjugate = true;
    with_.second_part(be, "convolution_adjoint", adjoint, across, r);
    synthesise_columns(be, storage, across, r, heads, dc, d.x, pre, d.pre, x);

    if (d.post.ext[3] != 0) {
      gate.from = with_.as_source(of_w);
      gate.spectrum = with_.spectra(storage, r, false);
      gate.to = of_dc;
      gate.first = 1;
      with_.second_part(be, "convolution_dpost", gate, across, r);
      synthesise_columns(be, storage, across, r, heads, dc, d.post, dy, {}, {});
    }
    back.from = with_.as_source(of_lags);
    back.to = of_lags;
    sum_entries(back);
    with_.second_part(be, "convolution_lags", back, across, one_entry(r));
    convolution_job<T> columns_back = with_.job_for(storage, one_entry(r), 1);
    columns_back.from = with_.as_source(with_.columns(lags, across, r));
    columns_back.to = with_.columns(lags, across, r);
    columns_back.first = 1;
    with_.first_part(be, "convolution_lags_columns", columns_back, across, one_entry(r));
  }

  static range one_entry(range r) {
    r.entries = 1;
    return r;
  }
  /// The inverse of the sum of all batch entries, in order.
  static void sum_entries(convolution_job<T>& job) {
    job.summed = job.batch;
    job.batch = 1;
    job.first = 1;
  }

  /// Adds the lags, M complex numbers times M a channel, to the gradients of the kernels.
  void add_lags(B& be, gradients const& d, T* w, range const& r, complex_signals<T> const& lags) const {
    index_t const m = with_.split().points, length = with_.shape().length,
                  taps = std::min(with_.shape().taps, length);
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
    if (with_.shape().kind == convolution_kind::bidirectional)
      add(d.k_rev, 0, -scale, part(1, m - 1, std::min(taps, length - 1), -1));
    if (with_.shape().kind == convolution_kind::circular)
      add(d.k, 1, -scale, part(1, m - length + 1, taps - 1, 1));
    if (d.skip.ext[0] != 0) {
      write<1> const entries = slice(d.skip, 0, r.first, r.count);
      be.map(add_scaled_by<T>{scale}, entries, as_input(entries), as_input(fix_axis(part(0, 0, 1, 1), 1, 0)));
    }
  }

  convolution_passes<T> with_;
};

}  // namespace smx::cuda_kernels
