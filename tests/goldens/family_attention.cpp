// SPDX-License-Identifier: Apache-2.0
/// \file  attention: scaled dot product attention, (B,H,L,D), with key head floor(h Hkv / Hq) for query head
/// h.
///
/// `is_causal`: key j is visible to query i iff j <= i, whatever the lengths. `in.attn_mask` is broadcast to
/// (B,Hq,M,N) from the right; integers: nonzero = visible; floating point: added to the scores, -inf = not
/// visible, with a gradient. The library adds nothing to scores; the sum is a product of longer vectors: q' =
/// (q, e_i / scale), k'_j = (k_j, bias_j), so that scale q'_i k'_j = scale q_i k_j + bias_ij and the gradient
/// of the bias is that of k'.
#include <cmath>
#include <limits>

#include <smx/mixers/attention.hpp>
#include <smx/mixers/run.hpp>
#include <tests/goldens/family.hpp>
#include <tests/goldens/stored_mask.hpp>

namespace goldens {

namespace {

/// The strides with which a row-major array of this shape is read as one of extents `e`: aligned at the last
/// axis, 0 where it is broadcast.
extents<4> broadcast_strides(golden const& g, std::string const& name, extents<4> const& e) {
  std::vector<index_t> const& shape = g.shape(name);
  extents<4> str{};
  index_t stride = 1;
  int const missing = 4 - static_cast<int>(shape.size());
  for (int r = 3; r >= missing && r >= 0; --r) {
    index_t const n = shape[static_cast<std::size_t>(r - missing)];
    if (n != 1 && n != e[r])
      g.fail("tensor '" + name + "': does not broadcast to (batch, heads, queries, keys)");
    str[r] = n == 1 ? 0 : stride;
    stride *= n;
  }
  if (missing < 0) g.fail("tensor '" + name + "': expected a rank of at most 4");
  return str;
}

template <class T, class B> struct evaluation { smx::tensor<T, 4, smx::space_t<B>> y, lse, dq, dk, dv; };

template <class T, class B, smx::Mask Mask>
evaluation<T, B> evaluate(B& be, T scale, Mask const& mask, smx::in<B, T, 4> q, smx::in<B, T, 4> k,
                          smx::in<B, T, 4> v, smx::in<B, T, 4> dy) {
  using mixer = smx::attention<T, Mask>;
  using owned = smx::tensor<T, 4, smx::space_t<B>>;
  mixer const mix{.scale = scale, .mask = mask};
  smx::inputs_in<mixer, B> const x{q, k, v};
  extents<4> lse = q.ext;
  lse[3] = 1;
  evaluation<T, B> e{owned(be.memory(), mix.output_extents(x)), owned(be.memory(), lse),
                     owned(be.memory(), q.ext), owned(be.memory(), k.ext), owned(be.memory(), v.ext)};
  auto frame = be.scope();
  auto const tape = mix.make_tape(be, x);
  mix.forward(be, {}, x, tape, e.y.view());
  be.copy(smx::as_input(tape.lse), e.lse.view());
  mix.backward(be, {}, x, tape, dy, {}, {e.dq.view(), e.dk.view(), e.dv.view()});
  be.synchronize();
  return e;
}

struct attention_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    auto const q = load<T, 4>(be, g, "in.q"), k = load<T, 4>(be, g, "in.k"), v = load<T, 4>(be, g, "in.v");
    auto const dy = load<T, 4>(be, g, "in.r");
    auto const [batch, heads, queries, dim] = q.extents().n;
    auto const [value_batch, kv_heads, keys, value_dim] = v.extents().n;
    g.expect_extents("in.k", extents<4>{batch, kv_heads, keys, dim});
    g.expect_extents("in.v", extents<4>{batch, kv_heads, keys, value_dim});
    g.expect_extents("in.r", extents<4>{batch, heads, queries, value_dim});
    if (heads % kv_heads != 0) g.fail("in.q: expected a multiple of the key heads");
    T const scale =
        static_cast<T>(g.option("scale", 0.0));  // 0: the library's default, as null is the reference's
    bool const causal = g.option("is_causal", false);
    if (!g.contains("in.attn_mask")) {
      check(c, causal ? evaluate<T>(be, scale, smx::causal_mask{}, q, k, v, dy)
                      : evaluate<T>(be, scale, smx::full_mask{}, q, k, v, dy));
      return;
    }
    if (causal) g.fail("both is_causal and in.attn_mask");
    extents<4> const scores{batch, heads, queries, keys};
    extents<4> const strides = broadcast_strides(g, "in.attn_mask", scores);
    smx::stored_dtype const dtype = g.file().at("in.attn_mask").dtype;
    bool const additive = smx::detail::element_reader<std::int64_t>(dtype) == nullptr;
    std::vector<T> const given = g.file().read<T>("in.attn_mask");
    std::vector<std::uint8_t> marks(given.size());
    for (std::size_t n = 0; n < given.size(); ++n)
      marks[n] = additive ? given[n] != -std::numeric_limits<T>::infinity() : given[n] != T(0);
    auto const visible = shared(marks);
    stored_mask const mask{visible.data(), strides};
    if (additive)
      check_additive(be, g, c, scale != 0 ? scale : 1 / std::sqrt(static_cast<T>(dim)), mask,
                     {given.data(), scores, strides}, q, k, v, dy);
    else
      check(c, evaluate<T>(be, scale, mask, q, k, v, dy));
  }

 private:
  template <class T, class B> static void check(comparison& c, evaluation<T, B> const& e) {
    c.check("out.y", e.y);
    c.check("out.lse", e.lse);
    c.check("grad.in.q", e.dq);
    c.check("grad.in.k", e.dk);
    c.check("grad.in.v", e.dv);
  }

  /// bias (B,Hq,M,N), broadcast by strides; -inf where the mask hides. The longer vectors have a default
  /// scale of their own.
  template <class T, class B>
  static void check_additive(B& be, golden const& g, comparison& c, T scale, stored_mask const& mask,
                             smx::view<T const, 4, smx::host_space> bias,
                             smx::tensor<T, 4, smx::space_t<B>> const& given_q,
                             smx::tensor<T, 4, smx::space_t<B>> const& given_k,
                             smx::tensor<T, 4, smx::space_t<B>> const& given_v,
                             smx::tensor<T, 4, smx::space_t<B>> const& dy) {
    auto const q = here(given_q), k = here(given_k), v = here(given_v);
    auto const [batch, heads, queries, keys] = bias.ext.n;
    index_t const dim = q.extents()[3], value_dim = v.extents()[3], kv_heads = k.extents()[1],
                  shared = heads / kv_heads;
    smx::tensor<T, 4> q2(extents<4>{batch, heads, queries, dim + queries});
    smx::tensor<T, 4> k2(extents<4>{batch, heads, keys, dim + queries}),
        v2(extents<4>{batch, heads, keys, value_dim});
    for (index_t b = 0; b < batch; ++b)
      for (index_t h = 0; h < heads; ++h) {
        for (index_t i = 0; i < queries; ++i) {
          for (index_t d = 0; d < dim; ++d) q2(b, h, i, d) = q(b, h, i, d);
          q2(b, h, i, dim + i) = 1 / scale;
        }
        for (index_t j = 0; j < keys; ++j) {
          for (index_t d = 0; d < dim; ++d) k2(b, h, j, d) = k(b, h / shared, j, d);
          for (index_t d = 0; d < value_dim; ++d) v2(b, h, j, d) = v(b, h / shared, j, d);
          for (index_t i = 0; i < queries; ++i)
            k2(b, h, j, dim + i) = mask.allow(b, h, i, j) ? bias(b, h, i, j) : T(0);
        }
      }
    evaluation<T, B> e = evaluate<T>(be, scale, mask, there(be, q2), there(be, k2), there(be, v2), dy);
    auto const dq2 = here(e.dq), dk2 = here(e.dk), dv2 = here(e.dv);

    std::vector<T> d_bias(static_cast<std::size_t>(g.file().at("in.attn_mask").size()));
    smx::tensor<T, 4> dq(q.extents()), dk(k.extents()), dv(v.extents());
    for (index_t b = 0; b < batch; ++b)
      for (index_t h = 0; h < heads; ++h) {
        for (index_t i = 0; i < queries; ++i)
          for (index_t d = 0; d < dim; ++d) dq(b, h, i, d) = dq2(b, h, i, d);
        for (index_t j = 0; j < keys; ++j) {
          for (index_t d = 0; d < dim; ++d) dk(b, h / shared, j, d) += dk2(b, h, j, d);
          for (index_t d = 0; d < value_dim; ++d) dv(b, h / shared, j, d) += dv2(b, h, j, d);
          for (index_t i = 0; i < queries; ++i)
            d_bias[static_cast<std::size_t>(b * bias.str[0] + h * bias.str[1] + i * bias.str[2] +
                                            j * bias.str[3])] += dk2(b, h, j, dim + i);
        }
      }
    e.dq = there(be, dq), e.dk = there(be, dk), e.dv = there(be, dv);
    check(c, e);
    c.check("grad.in.attn_mask", d_bias);
  }
};

}  // namespace

family family_attention() { return make_family<attention_family>("attention"); }

}  // namespace goldens
