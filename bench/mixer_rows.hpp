// SPDX-License-Identifier: Apache-2.0
/// \file  Rows of a mixer: forward, and forward + backward, at view level, so that nothing allocates while
/// the clock runs.
///
/// The same program runs on the CPU, where it is timed, and on the planner of that CPU, which gives flops,
/// bytes and workspace. In forward + backward the workspace holds what forward keeps for backward.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <bench/rows.hpp>
#include <smx/backend/cpu.hpp>
#include <smx/mixers/run.hpp>

namespace bench {

enum class pass : char { forward, both };

using cpu = smx::cpu_backend<>;
using cpu_planner = cpu::planner;

/// Uniform in +-scale, a function of the index.
template <class T> struct hash_entries {
  std::uint32_t stream;
  T scale;

  template <int R> T operator()(smx::extents<R> const& i) const {
    std::uint32_t h = stream * 0x9E3779B9u;
    for (int r = 0; r < R; ++r) h = (h ^ static_cast<std::uint32_t>(i[r])) * 0x85EBCA6Bu;
    h ^= h >> 15;
    return scale * (static_cast<T>(h & 0xFFFFu) / T(32768) - T(1));
  }
};

/// Mixer M with its weights, inputs, outputs and gradients on backend B. Input i has the extents given.
template <class M, class B> class mixer_work {
 public:
  using scalar = typename M::scalar;

  mixer_work(B& be, M const& mix, std::vector<smx::extents<4>> const& inputs, pass which)
      : be_(be), mix_(mix), which_(which), w_(be, mix), dw_(be, mix) {
    std::size_t next = 0;
    M::for_each_input(
        [&](char const*, auto& owned, auto& read, auto& gradient, auto& written) {
          if (next == inputs.size()) return;  // what is left out stays empty
          owned = std::remove_reference_t<decltype(owned)>(be_.memory(), inputs[next]);
          read = owned.cview();
          tensors_ += owned.bytes();
          if (which_ == pass::both) {
            gradient = std::remove_reference_t<decltype(owned)>(be_.memory(), inputs[next]);
            written = gradient.view();
            tensors_ += owned.bytes();
          }
          ++next;
        },
        x_, x_read_, dx_, dx_written_);
    auto const output = mix_.output_extents(x_read_);
    y_ = array(be_.memory(), output);
    if (which_ == pass::both) dy_ = array(be_.memory(), output);
    tensors_ += y_.bytes() + dy_.bytes() + w_.bytes() * (which_ == pass::both ? 2 : 1);
  }

  /// Inputs and weights of the size that training starts from, from a hash: zeros would be no honest work for
  /// an exp, and normal numbers cost more to make than many a row to run.
  void fill() {
    std::uint32_t stream = 0;
    auto const spread = [&](double scale, auto to) {
      be_.generate(hash_entries<scalar>{++stream, scalar(1.7 * scale)}, to);
    };
    mix_.for_each_weight([&](auto const& info, auto& to) { spread(info.init.scale, to); }, w_.write());
    M::for_each_input(
        [&](char const*, auto& owned) {
          if (owned.size() != 0) spread(1, owned.view());
        },
        x_);
    if (dy_.size() != 0) spread(1, dy_.view());
  }

  void run() {
    auto frame = be_.scope();
    if (which_ == pass::forward) {
      mix_.forward(be_, w_.read(), x_read_, {}, y_.view());
    } else {
      auto const tape = mix_.make_tape(be_, x_read_);
      mix_.forward(be_, w_.read(), x_read_, tape, y_.view());
      mix_.backward(be_, w_.read(), x_read_, tape, dy_.cview(), dw_.write(), dx_written_);
    }
    be_.synchronize();
  }

  std::size_t tensor_bytes() const { return tensors_; }

 private:
  using array = smx::tensor<scalar, 4, smx::space_t<B>>;
  B& be_;
  M mix_;
  pass which_;
  smx::parameters<M, B> w_, dw_;
  typename M::template inputs<smx::owns<B>> x_, dx_;
  smx::inputs_in<M, B> x_read_;
  smx::inputs_out<M, B> dx_written_;
  array y_, dy_;
  std::size_t tensors_ = 0;
};

template <class M>
costs plan_costs(M const& mix, std::vector<smx::extents<4>> const& inputs, pass which, int threads) {
  cpu_planner be(smx::tiling{threads, cpu::cache_bytes});
  mixer_work<M, cpu_planner> work(be, mix, inputs, which);
  work.run();
  smx::cost const c = be.result();
  return {c.flops, c.bytes, static_cast<double>(c.workspace), static_cast<double>(work.tensor_bytes())};
}

/// Adds forward, and forward + backward, for each thread count. `length` and `dim` are what the row says of
/// its work.
template <class M>
void add_rows(std::vector<row>& rows, std::string const& mixer, std::string const& variant, index_t length,
              index_t dim, M const& mix, std::vector<smx::extents<4>> const& inputs, int threads) {
  for (int t : thread_counts(threads))
    for (pass which : {pass::forward, pass::both})
      rows.push_back(
          {row_name(mixer, variant, which == pass::forward ? "forward" : "forward+backward", t, length),
           length, dim, [=] { return plan_costs(mix, inputs, which, t); },
           [=] {
             struct stage {
               cpu be;
               mixer_work<M, cpu> work;
               stage(int n, M const& m, std::vector<smx::extents<4>> const& x, pass p)
                   : be(n), work(be, m, x, p) {
                 work.fill();
               }
             };
             auto const s = std::make_shared<stage>(t, mix, inputs, which);
             return [s] { s->work.run(); };
           }});
}

// One translation unit a mixer: Eigen's products make each of them slow to compile.
void add_dense(std::vector<row>& rows, int threads);
void add_monarch(std::vector<row>& rows, int threads);
void add_attention(std::vector<row>& rows, int threads);

}  // namespace bench
