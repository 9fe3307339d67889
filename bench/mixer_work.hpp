// SPDX-License-Identifier: Apache-2.0
/// \file  A mixer at work on any backend: weights, inputs, outputs and gradients made and filled before the
/// clock runs, and forward, or forward + backward, at view level.
///
/// The same program runs on the backend that is timed and on its planner, which gives flops, bytes and
/// workspace. In forward + backward the workspace holds what forward keeps for backward.
#pragma once

#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <smx/core/config.hpp>
#include <smx/mixers/run.hpp>

namespace bench {

using smx::index_t;

enum class pass : char { forward, both };

/// Uniform in +-scale, a function of the index.
template <class T> struct hash_entries {
  std::uint32_t stream;
  T scale;

  template <int R> SMX_HD T operator()(smx::extents<R> const& i) const {
    std::uint32_t h = stream * 0x9E3779B9u;
    for (int r = 0; r < R; ++r) h = (h ^ static_cast<std::uint32_t>(i[r])) * 0x85EBCA6Bu;
    h ^= h >> 15;
    return scale * (static_cast<T>(h & 0xFFFFu) / T(32768) - T(1));
  }
};

/// Arrays and weights of the size that training starts from, from a hash: zeros would be no honest work for
/// an exp, and normal numbers cost more to make than many a row to run.
template <class B> class filler {
 public:
  explicit filler(B& be) : be_(&be) {}

  template <class V> void spread(double scale, V const& to) {
    using scalar = std::remove_const_t<typename V::element_type>;
    if (to.size() != 0) be_->generate(hash_entries<scalar>{++stream_, scalar(1.7 * scale)}, to);
  }
  template <class M, class W> void weights(M const& mixer, W& w) {
    mixer.for_each_weight([&](auto const& info, auto& to) { spread(info.init.scale, to); }, w.write());
  }
  template <class M, class X> void inputs(X& x) {
    M::for_each_input([&](char const*, auto& owned) { spread(1, owned.view()); }, x);
  }

 private:
  B* be_;
  std::uint32_t stream_ = 0;
};

/// Whether a token's channels or a channel's tokens lie next to each other.
enum class layout : char { token_major, channel_major };

/// What a row does: the mixer, the (B,H,L,D) extents of its inputs (what is left out stays empty), the pass,
/// the layout.
template <class M> struct job {
  M mixer;
  std::vector<smx::extents<4>> inputs;
  pass which = pass::forward;
  layout order = layout::token_major;
};

/// A job with its weights, inputs, outputs and gradients in the memory of a backend. Where a mixer prepares
/// kernels for many inputs, forward is what follows, and forward + backward does all of it, because training
/// moves the weights.
template <class M, class B> class mixer_work {
 public:
  using scalar = typename M::scalar;
  using array = smx::tensor<scalar, 4, smx::space_t<B>>;
  static constexpr bool prepares = requires(M const& m, B& be, smx::weights_in<M, B> const& w) {
    m.prepare(be, w, index_t{});
  };

  mixer_work(B& be, job<M> const& what) : job_(what), w_(be, what.mixer) {
    std::size_t next = 0;
    M::for_each_input(
        [&](char const*, auto& owned, auto& read, auto& gradient, auto& written) {
          if (next == job_.inputs.size()) return;
          smx::extents<4> const e = job_.inputs[next++];
          owned = make(be, e);
          read = view(owned);
          if (job_.which == pass::both) {
            gradient = make(be, e);
            written = view(gradient);
          }
        },
        x_, x_read_, dx_, dx_written_);
    auto const output = job_.mixer.output_extents(x_read_);
    y_ = make(be, output);
    tensors_ += w_.bytes();
    if (job_.which == pass::both) {
      dy_ = make(be, output);
      dw_.emplace(be, job_.mixer);
      tensors_ += dw_->bytes();
    }
  }

  void fill(B& be) {
    filler<B> from(be);
    from.weights(job_.mixer, w_);
    from.template inputs<M>(x_);
    from.spread(1, dy_.view());
  }

  /// What is done once for many calls.
  void prepare(B& be) {
    if constexpr (prepares)
      if (job_.which == pass::forward) {
        prepared_ = job_.mixer.prepare(be, w_.read(), y_read().ext[2]);
        tensors_ += prepared_.storage.bytes();
      }
  }

  /// Without waiting for the end.
  void enqueue(B& be) {
    auto frame = be.scope();
    if (job_.which == pass::forward) {
      if constexpr (prepares)
        job_.mixer.apply(be, prepared_, x_read_, view(y_));
      else
        job_.mixer.forward(be, w_.read(), x_read_, {}, view(y_));
    } else {
      auto const tape = job_.mixer.make_tape(be, x_read_);
      job_.mixer.forward(be, w_.read(), x_read_, tape, view(y_));
      job_.mixer.backward(be, w_.read(), x_read_, tape, view(dy_), dw_->write(), dx_written_);
    }
  }
  void run(B& be) {
    enqueue(be);
    be.synchronize();
  }

  std::size_t tensor_bytes() const { return tensors_; }

 private:
  struct nothing {};
  static auto prepared_type() {
    if constexpr (prepares)
      return typename M::template prepared<smx::owns<B>>{};
    else
      return nothing{};
  }
  array make(B& be, smx::extents<4> e) {
    if (job_.order == layout::channel_major) std::swap(e[2], e[3]);
    array t(be.memory(), e);
    tensors_ += t.bytes();
    return t;
  }
  smx::out<B, scalar, 4> view(array& t) const {  // (B,H,L,D)
    return job_.order == layout::channel_major ? smx::swap_axes(t.view(), 2, 3) : t.view();
  }
  smx::in<B, scalar, 4> y_read() { return view(y_); }

  job<M> job_;
  smx::parameters<M, B> w_;
  std::optional<smx::parameters<M, B>> dw_;
  typename M::template inputs<smx::owns<B>> x_, dx_;
  smx::inputs_in<M, B> x_read_;
  smx::inputs_out<M, B> dx_written_;
  array y_, dy_;
  decltype(prepared_type()) prepared_;
  std::size_t tensors_ = 0;
};

}  // namespace bench
