// SPDX-License-Identifier: Apache-2.0
/// \file  long_convolution: channel-major u (B,D,L), kernels (D,taps), skip D (D), gates like u.
///
/// causal:         y_i = post_i (sum_{j<=i} k[i-j] v_j + D v_i), v = pre u
/// bidirectional:  plus sum_{j>i} k_rev[j-i-1] v_j; in the H3 style plus sum_{j>=i} k_rev[j-i] v_j, which is
/// the former with
///                 k_rev[0] added to k[0] and the other taps moved down by one
/// circular:       fft_size = L: y_i = sum_j k[(i-j) mod L] v_j
/// Each file runs channel-major, as it is stored, and with contiguous channels; causal ones also in exact
/// evaluation.
#include <algorithm>

#include <smx/mixers/long_convolution.hpp>
#include <tests/goldens/family.hpp>

namespace goldens {
namespace {

/// (B,D,L) or (D,taps) values of the file with the last axis cut or filled with zeros to `last`.
template <class T> std::vector<T> resized(std::vector<T> const& values, index_t from, index_t to) {
  std::vector<T> out(values.size() / static_cast<std::size_t>(from) * static_cast<std::size_t>(to));
  for (std::size_t n = 0; n < out.size(); ++n) {
    auto const row = static_cast<index_t>(n) / to, column = static_cast<index_t>(n) % to;
    if (column < from) out[n] = values[static_cast<std::size_t>(row * from + column)];
  }
  return out;
}

/// An array of (B,1,L,D) in one of two memory orders.
template <class T, class B> struct signal {
  smx::tensor<T, 3, smx::space_t<B>> memory;  // (B,D,L) or (B,L,D)
  bool channel_major = false;

  signal() = default;
  signal(B& be, extents<3> const& e, bool major)
      : memory(be.memory(), major ? e : extents<3>{e[0], e[2], e[1]}), channel_major(major) {}

  smx::out<B, T, 4> view() {  // (B,1,L,D)
    if (memory.size() == 0) return {};
    auto const v = smx::broadcast_axis(memory.view(), 1, 1);
    return channel_major ? smx::swap_axes(v, 2, 3) : v;
  }
  smx::out<B, T, 3> as_stored() {  // (B,D,L)
    return channel_major ? memory.view() : smx::swap_axes(memory.view(), 1, 2);
  }
};

struct long_convolution_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    index_t const length = g.extents_of<3>("in.u")[2];
    bool const circular = g.option<index_t>("fft_size", 2 * length) == length && !g.contains("in.k_rev");
    using smx::convolution_kind;
    for (bool const channel_major : {true, false}) {
      if (g.contains("in.k_rev"))
        run<T, smx::long_convolution<T, convolution_kind::bidirectional>>(be, g, c, channel_major);
      else if (circular)
        run<T, smx::long_convolution<T, convolution_kind::circular>>(be, g, c, channel_major);
      else
        run<T, smx::long_convolution<T>>(be, g, c, channel_major);
    }
    if (!circular && !g.contains("in.k_rev"))
      run<T, smx::long_convolution<T, convolution_kind::causal, smx::evaluation::exact>>(be, g, c, false);
  }

 private:
  template <class T, class Mixer, class B>
  static void run(B& be, golden const& g, comparison& c, bool channel_major) {
    extents<3> const e = g.extents_of<3>("in.u");
    auto const [batch, channels, length] = e.n;
    bool const reverse = g.contains("in.k_rev");
    bool const h3 = reverse && g.notes().find("k_rev[j-i]") != std::string::npos;
    std::string const forward_name = reverse ? "in.k_fwd" : "in.k";
    index_t const taps_k = g.extents_of<2>(forward_name)[1],
                  taps_r = reverse ? g.extents_of<2>("in.k_rev")[1] : 0;
    index_t const taps = std::max(taps_k, taps_r);
    g.expect_extents(forward_name, extents<2>{channels, taps_k});
    if (reverse) g.expect_extents("in.k_rev", extents<2>{channels, taps_r});

    std::vector<T> k = resized(g.file().read<T>(forward_name), taps_k, taps), k_rev;
    if (reverse) k_rev = resized(g.file().read<T>("in.k_rev"), taps_r, taps);
    if (h3)
      for (index_t d = 0; d < channels; ++d) {
        T* const row = k_rev.data() + d * taps;
        k[static_cast<std::size_t>(d * taps)] += row[0];
        std::shift_left(row, row + taps, 1);
        row[taps - 1] = 0;
      }
    extents<2> const kernel{channels, taps};
    auto const k_tensor = upload<T>(be, k, kernel);
    auto const k_rev_tensor = reverse ? upload<T>(be, k_rev, kernel) : smx::tensor<T, 2, smx::space_t<B>>();
    auto const skip = g.contains("in.D") ? load<T>(be, g, "in.D", extents<1>{channels})
                                         : smx::tensor<T, 1, smx::space_t<B>>();

    Mixer const mix{
        .channels = channels, .taps = taps, .skip = g.contains("in.D"), .truncate = taps > length};
    smx::weights_in<Mixer, B> w;
    w.k = k_tensor;
    if (reverse) w.k_rev = k_rev_tensor;
    if (mix.skip) w.skip = skip;
    auto const read = [&](char const* name) {
      signal<T, B> s;
      if (!g.contains(name)) return s;
      g.expect_extents(name, e);
      s = signal<T, B>(be, e, channel_major);
      be.copy(load<T, 3>(be, g, name).cview(), s.as_stored());
      return s;
    };
    auto const like = [&](signal<T, B> const& s) {
      return s.memory.size() == 0 ? signal<T, B>() : signal<T, B>(be, e, channel_major);
    };
    auto x = read("in.u"), pre = read("in.pre_gate"), post = read("in.post_gate"), dy = read("in.r");
    signal<T, B> y(be, e, channel_major), dx(be, e, channel_major), dpre = like(pre), dpost = like(post);
    smx::tensor<T, 2, smx::space_t<B>> dk(be.memory(), kernel), dk_rev(be.memory(), kernel);
    smx::tensor<T, 1, smx::space_t<B>> dskip(be.memory(), extents<1>{channels});
    smx::weights_out<Mixer, B> dw;
    dw.k = dk;
    if (reverse) dw.k_rev = dk_rev;
    if (mix.skip) dw.skip = dskip;

    smx::inputs_in<Mixer, B> const a{x.view(), pre.view(), post.view()};
    auto frame = be.scope();
    auto const tape = mix.make_tape(be, a);
    mix.forward(be, w, a, tape, y.view());
    mix.backward(be, w, a, tape, dy.view(), dw, {dx.view(), dpre.view(), dpost.view()});
    be.synchronize();

    std::vector<T> d_k = elements(dk.cview()), d_rev = elements(dk_rev.cview());
    if (h3)
      for (index_t d = 0; d < channels; ++d) {
        T* const row = d_rev.data() + d * taps;
        std::shift_right(row, row + taps, 1);
        row[0] = d_k[static_cast<std::size_t>(d * taps)];
      }
    c.check("out.y", y.as_stored());
    c.check("grad.in.u", dx.as_stored());
    c.check("grad." + forward_name, resized(d_k, taps, taps_k));
    if (reverse) c.check("grad.in.k_rev", resized(d_rev, taps, taps_r));
    if (mix.skip) c.check("grad.in.D", dskip);
    if (g.contains("in.pre_gate")) c.check("grad.in.pre_gate", dpre.as_stored());
    if (g.contains("in.post_gate")) c.check("grad.in.post_gate", dpost.as_stored());
  }
};

}  // namespace

family family_long_convolution() { return make_family<long_convolution_family>("long_convolution"); }

}  // namespace goldens
