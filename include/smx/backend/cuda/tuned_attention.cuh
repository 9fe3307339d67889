// SPDX-License-Identifier: Apache-2.0
/// \file  The GPU's way of running softmax attention of f32 arrays. cuda_options::operands says what scores
/// and values are multiplied in: bf16 or f16 as they are; f32, and tf32, as sums of three bf16.
#pragma once

#include <climits>

#include <smx/backend/cuda/attention_backward.cuh>
#include <smx/backend/cuda/attention_step.cuh>
#include <smx/backend/cuda/attention_warpgroups.cuh>
#include <smx/backend/cuda/backend.cuh>
#include <smx/backend/tuned.hpp>

namespace smx {

namespace tuned_attention {

/// How a kernel for rows of Width numbers of Parts parts is cut; bench/cuda tries others.
template <int Width, int Parts> struct tiling_for;
template <> struct tiling_for<64, 1> : cuda_kernels::attention_tiling<64, 1, 4, 2, 64, 3> {};
template <> struct tiling_for<128, 1> : cuda_kernels::attention_tiling<128, 1, 4, 2, 64, 2> {};
template <> struct tiling_for<256, 1> : cuda_kernels::attention_tiling<256, 1, 4, 1, 64, 2> {};
template <> struct tiling_for<64, 3> : cuda_kernels::attention_tiling<64, 3, 8, 1, 64, 1> {};
template <> struct tiling_for<128, 3> : cuda_kernels::attention_tiling<128, 3, 8, 1, 64, 1> {};
template <> struct tiling_for<256, 3> : cuda_kernels::attention_tiling<256, 3, 4, 1, 32, 1> {};

/// The same for warpgroups: of how many a block is, and how many tiles are fetched ahead.
template <int Width> struct group_tiling_for;
template <> struct group_tiling_for<64> : cuda_kernels::warpgroup_tiling<64, 3, 3> {};
template <> struct group_tiling_for<128> : cuda_kernels::warpgroup_tiling<128, 2, 2> {};

constexpr int parts_of(cuda_operands how) {
  return how == cuda_operands::bf16 || how == cuda_operands::f16 ? 1 : 3;
}
template <class V> extents<3> outer_strides(V const& v) { return {v.str[0], v.str[1], v.str[2]}; }

/// What forward and backward calls have in common.
template <class C> cuda_kernels::attention_arrays arrays_of(C const& c) {
  auto const integer = [](index_t n) { return static_cast<int>(n); };
  cuda_kernels::attention_arrays a{};
  a.q = c.q.ptr, a.k = c.k.ptr, a.v = c.v.ptr;
  a.sq = outer_strides(c.q), a.sk = outer_strides(c.k), a.sv = outer_strides(c.v);
  a.batch = c.q.ext[0], a.heads = c.q.ext[1], a.kv_heads = c.k.ext[1];
  a.queries = integer(c.q.ext[2]), a.keys = integer(c.k.ext[2]);
  a.d = integer(c.q.ext[3]), a.e = integer(c.v.ext[3]), a.shared = integer(a.heads / a.kv_heads);
  a.scale = c.scale;
  if constexpr (!requires { c.dy; }) {
    a.y = c.y.ptr, a.sy = outer_strides(c.y);
    if (c.lse.size() != 0) a.lse = c.lse.ptr, a.sl = outer_strides(c.lse);
  }
  return a;
}
/// Whether row and image numbers fit.
template <class C> bool fits(C const& c) {
  constexpr index_t most = index_t{1} << 30;
  return c.q.ext[0] * c.q.ext[1] * c.q.ext[2] <= most && c.k.ext[0] * c.k.ext[1] * c.k.ext[2] <= most;
}

/// Bytes of the images of an array.
template <class V> std::size_t image_bytes(V const& v, int image_rows, int width, int parts) {
  index_t const images = v.ext[0] * v.ext[1] * cuda_kernels::ceil_div(v.ext[2], image_rows);
  return static_cast<std::size_t>(images * image_rows * width * parts) * 2;
}
/// Whether images are worth their memory. Those of short rows and sequences are many times the array; where a
/// batch is so large that this does not fit into a slab, the recipe goes through it in parts.
template <class B, class V> bool worth_images(B& be, V const& v, int image_rows, int width, int parts) {
  std::size_t const bytes = image_bytes(v, image_rows, width, parts);
  return bytes <= be.how().slab_bytes || bytes / 4 <= static_cast<std::size_t>(v.size()) * sizeof(float);
}

/// Whether a block's shared memory holds the tiles: three parts of rows wider than 64 take 193 KiB, more than
/// GPUs before compute capability 9.0 have.
constexpr bool has_room(std::size_t block_bytes, int width, int parts) {
  return width <= 64 || parts == 1 || block_bytes >= (std::size_t{200} << 10);
}

/// Pairs of a query and a key that tiles of 64 queries do not skip. Backends that run do not ask: it walks
/// the masks on the host.
template <class B, class C> double visible_pairs(C const& c) {
  if constexpr (std::same_as<B, cuda_backend>) return 0;
  double sum = 0;
  for (index_t b = 0; b < c.q.ext[0]; ++b)
    for (index_t h = 0; h < c.q.ext[1]; ++h)
      for (index_t first = 0; first < c.q.ext[2]; first += 64) {
        index_range const rows{first, first + 64 < c.q.ext[2] ? first + 64 : c.q.ext[2]};
        index_range const seen = c.mask.keys(b, h, rows, c.k.ext[2]);
        if (seen.first < seen.last)
          sum += static_cast<double>(rows.last - rows.first) * static_cast<double>(seen.last - seen.first);
      }
  return sum;
}

/// Whether rows can be read 16 bytes at a time, by sizes and strides; base addresses are checked as well.
template <class V> bool has_aligned_rows(V const& v) {
  for (int r = 0; r < 3; ++r)
    if (v.ext[r] > 1 && v.str[r] % 4 != 0) return false;
  return v.ext[3] % 4 == 0 && reinterpret_cast<std::uintptr_t>(v.ptr) % 16 == 0;
}

template <int Lanes, int Vectors, int Heads, class M>
void step_part(cuda_launcher const& on, cuda_kernels::attention_arrays const& a, int parts, bool aligned,
               float* to, M const& mask) {
  using namespace cuda_kernels;
  index_t const blocks = a.batch * a.kv_heads * ceil_div(a.shared, Heads) * parts;
  constexpr std::size_t shared = sizeof(float) * attention_step_warps * Heads * (4 * Lanes * Vectors + 2);
  on.launch({dim3(static_cast<unsigned>(blocks)), dim3(attention_step_threads), shared},
            attention_step_part<Lanes, Vectors, Heads, M>, a, parts, aligned, to, mask);
}
template <int Heads, class M>
void step_of_width(cuda_launcher const& on, int width, cuda_kernels::attention_arrays const& a, int parts,
                   bool aligned, float* to, M const& mask) {
  if (width == 32) return step_part<8, 1, Heads>(on, a, parts, aligned, to, mask);
  if (width == 64) return step_part<16, 1, Heads>(on, a, parts, aligned, to, mask);
  if (width == 128) return step_part<32, 1, Heads>(on, a, parts, aligned, to, mask);
  step_part<32, 2, Heads>(on, a, parts, aligned, to, mask);
}

/// One query row a head.
template <class B, class C> void step(B& be, C const& c) {
  using namespace cuda_kernels;
  attention_arrays const a = arrays_of(c);
  index_t const widest = c.q.ext[3] > c.v.ext[3] ? c.q.ext[3] : c.v.ext[3], rows = a.batch * a.heads;
  int const width = widest <= 32 ? 32 : widest <= 64 ? 64 : widest <= 128 ? 128 : 256;
  int const heads = a.shared == 1 ? 1 : 4,
            parts = attention_step_parts(a.batch * a.kv_heads * ceil_div(a.shared, heads), a.keys);
  auto frame = be.scope();
  float* to = nullptr;
  if (parts > 1) to = be.template scratch<float>(extents<3>{rows, parts, width + 2}).ptr;
  double const flops = 2.0 * static_cast<double>(a.d + a.e) * visible_pairs<B>(c),
               read = 4.0 * static_cast<double>(c.q.size() + c.k.size() + c.v.size()),
               written = 4.0 * static_cast<double>(rows) * parts * (width + 2);
  bool const aligned = has_aligned_rows(c.k) && has_aligned_rows(c.v);
  be.kernel("attention_step", {flops, read + written}, [&](cuda_launcher const& on) {
    if (heads == 1)
      step_of_width<1>(on, width, a, parts, aligned, to, c.mask);
    else
      step_of_width<4>(on, width, a, parts, aligned, to, c.mask);
  });
  if (parts == 1) return;
  be.kernel("attention_step_join", {0, written + 4.0 * static_cast<double>(c.y.size())},
            [&](cuda_launcher const& on) {
              on.launch({dim3(static_cast<unsigned>(rows)), dim3(static_cast<unsigned>(width))},
                        attention_step_join<float>, a, parts, width, to);
            });
}

/// Images of 16-bit numbers of some arrays, in scratch.
template <class B> class images_of_arrays {
 public:
  images_of_arrays(B& be, cuda_operands how, int parts, index_t batch, int width)
      : be_(be), how_(how), parts_(parts), all_{{}, 0, batch, width} {}

  /// Takes memory for an array; `watched`: what is not finite in it will be looked for.
  template <class V>
  cuda_kernels::image_source const& add(V const& v, int image_rows, float factor, bool watched) {
    using namespace cuda_kernels;
    image_source& to = all_.of[all_.count];
    to = {v.ptr,
          {v.str[0], v.str[1], v.str[2]},
          v.ext[1],
          static_cast<int>(v.ext[2]),
          static_cast<int>(v.ext[3]),
          image_rows,
          factor,
          nullptr,
          nullptr};
    index_t const images = all_.images(all_.count++);
    std::size_t const bytes = image_bytes(v, image_rows, all_.width, parts_);
    to.to = be_.template scratch<std::byte>(extents<1>{static_cast<index_t>(bytes)}).ptr;
    if (watched) to.odd = be_.template scratch<int>(extents<1>{images}).ptr;
    count_ += images;
    read_ += 4.0 * static_cast<double>(v.size());
    written_ += static_cast<double>(bytes);
    aligned_ = aligned_ && has_aligned_rows(v);
    return to;
  }
  void make() {
    be_.kernel("attention_operands", {0, read_ + written_}, [&](cuda_launcher const& on) {
      if (parts_ == 3)
        start<bf16, 3>(on);
      else if (how_ == cuda_operands::f16)
        start<f16, 1>(on);
      else
        start<bf16, 1>(on);
    });
  }
  double bytes() const { return written_; }

 private:
  template <class H, int Parts> void start(cuda_launcher const& on) const {
    using namespace cuda_kernels;
    on.launch({dim3(blocks_for(count_, 1)), dim3(image_threads)},
              aligned_ ? make_attention_images<H, Parts, true> : make_attention_images<H, Parts, false>,
              all_);
  }

  B& be_;
  cuda_operands how_;
  int parts_;
  cuda_kernels::image_sources all_;
  index_t count_ = 0;
  double read_ = 0, written_ = 0;
  bool aligned_ = true;
};

template <class H, class Tiling, class M>
void forward_tiles(cuda_launcher const& on, cuda_kernels::attention_arrays const& a,
                   cuda_kernels::attention_images const& images, M const& mask) {
  using namespace cuda_kernels;
  index_t const blocks = a.batch * a.heads * images_of(a.queries, Tiling::rows);
  on.launch({dim3(static_cast<unsigned>(blocks)), dim3(Tiling::threads), Tiling::template shared_bytes<M>},
            attention_forward_tiles<H, Tiling, M>, a, images, mask);
}

/// Whether warpgroups did it.
template <class H, int Parts, int Width, class M>
bool forward_groups(cuda_launcher const& on, cuda_kernels::attention_arrays const& a,
                    cuda_kernels::attention_images const& images, M const& mask) {
  using namespace cuda_kernels;
  if constexpr (Parts == 1 && Width <= 128 && IntervalMask<M>) {
    using tiling = group_tiling_for<Width>;
    auto const kernel = attention_forward_groups<H, tiling, M>;
    if (!has_warpgroups(kernel)) return false;
    index_t const blocks = a.batch * a.heads * images_of(a.queries, tiling::rows);
    on.launch({dim3(static_cast<unsigned>(blocks)), dim3(tiling::threads), tiling::template shared_bytes<M>},
              kernel, a, images, mask);
    return true;
  }
  return false;
}

template <class H, int Parts, int Width, class M>
void forward(cuda_launcher const& on, cuda_kernels::attention_arrays const& a,
             cuda_kernels::attention_images const& images, M const& mask) {
  if (!on.warpgroups || !forward_groups<H, Parts, Width>(on, a, images, mask))
    forward_tiles<H, tiling_for<Width, Parts>>(on, a, images, mask);
}

template <class H, int Parts, class M>
void forward_of_width(cuda_launcher const& on, int width, cuda_kernels::attention_arrays const& a,
                      cuda_kernels::attention_images const& images, M const& mask) {
  if (width == 64)
    forward<H, Parts, 64>(on, a, images, mask);
  else if (width == 128)
    forward<H, Parts, 128>(on, a, images, mask);
  else
    forward<H, Parts, 256>(on, a, images, mask);
}

/// f(tiling, 16-bit type) for the kernels of backward.
template <class F> void with_backward_tiling(int parts, int width, F const& f) {
  using namespace cuda_kernels;
  if (parts == 1 && width == 64) return f(backward_tiling<64, 1>{});
  if (parts == 1) return f(backward_tiling<128, 1>{});
  if (width == 64) return f(backward_tiling<64, 3>{});
  f(backward_tiling<128, 3>{});
}
template <class M>
void backward_queries(cuda_launcher const& on, int parts, int width, cuda_kernels::attention_arrays const& a,
                      cuda_kernels::backward_images const& images,
                      cuda_kernels::attention_row_numbers const& numbers,
                      cuda_kernels::attention_gradients const& to, M const& mask) {
  using namespace cuda_kernels;
  with_backward_tiling(parts, width, [&]<class Tiling>(Tiling) {
    index_t const blocks = a.batch * a.heads * images_of(a.queries, Tiling::rows);
    constexpr std::size_t shared = Tiling::shared_bytes + Tiling::template tiles_of<M>::shared_bytes;
    on.launch({dim3(static_cast<unsigned>(blocks)), dim3(Tiling::threads), shared},
              attention_backward_queries<bf16, Tiling, M>, a, images, numbers, to, mask);
  });
}
template <class M>
void backward_keys(cuda_launcher const& on, int parts, int width, cuda_kernels::attention_arrays const& a,
                   cuda_kernels::backward_images const& images,
                   cuda_kernels::attention_row_numbers const& numbers,
                   cuda_kernels::attention_gradients const& to, M const& mask) {
  using namespace cuda_kernels;
  with_backward_tiling(parts, width, [&]<class Tiling>(Tiling) {
    index_t const blocks = a.batch * a.kv_heads * images_of(a.keys, Tiling::rows);
    constexpr std::size_t shared = Tiling::shared_bytes + key_block_sight<M, Tiling::threads>::shared_bytes;
    on.launch({dim3(static_cast<unsigned>(blocks)), dim3(Tiling::threads), shared},
              attention_backward_keys<bf16, Tiling, M>, a, images, numbers, to, mask);
  });
}

}  // namespace tuned_attention

template <class B, class S, class M>
requires OnCuda<B>
bool smx_tuned(B& be, attention_forward_call<float, S, M> const& c) {
  using namespace tuned_attention;
  using namespace cuda_kernels;
  if (c.q.ext[3] > attention_widest || c.v.ext[3] > attention_widest || !fits(c)) return false;
  if (c.q.ext[0] * c.q.ext[1] * c.q.ext[2] == 0) return true;
  if (c.q.ext[2] == 1) {
    step(be, c);
    return true;
  }
  auto const operands = static_cast<cuda_operands>(be.how().operands);
  int const width = attention_width(c.q.ext[3], c.v.ext[3]), parts = parts_of(operands),
            key_rows = attention_key_rows(width, parts);
  if (!has_room(be.how().block_bytes, width, parts) ||
      !worth_images(be, c.q, attention_query_rows, width, parts) ||
      !worth_images(be, c.k, key_rows, width, parts) || !worth_images(be, c.v, key_rows, width, parts))
    return false;
  attention_arrays const a = arrays_of(c);
  auto frame = be.scope();
  images_of_arrays<B> all(be, operands, parts, a.batch, width);
  image_source const &q = all.add(c.q, attention_query_rows, c.scale * log2_e, false),
                     &k = all.add(c.k, key_rows, 1, false), &v = all.add(c.v, key_rows, 1, true);
  attention_images const images{q.to, k.to, v.to, v.odd};
  all.make();
  double const flops = 2.0 * static_cast<double>(a.d + a.e) * visible_pairs<B>(c);
  be.kernel("attention", {flops, all.bytes() + 4.0 * static_cast<double>(c.y.size())},
            [&](cuda_launcher const& on) {
              if (operands == cuda_operands::bf16)
                forward_of_width<bf16, 1>(on, width, a, images, c.mask);
              else if (operands == cuda_operands::f16)
                forward_of_width<f16, 1>(on, width, a, images, c.mask);
              else
                forward_of_width<bf16, 3>(on, width, a, images, c.mask);
            });
  return true;
}

template <class B, class S, class M>
requires OnCuda<B>
bool smx_tuned(B& be, attention_backward_call<float, S, M> const& c) {
  using namespace tuned_attention;
  using namespace cuda_kernels;
  index_t const batch = c.q.ext[0], heads = c.q.ext[1], queries = c.q.ext[2];
  if (c.q.ext[3] > widest_backward || c.v.ext[3] > widest_backward || !fits(c)) return false;
  if (c.q.size() == 0 || c.k.size() == 0 || c.v.size() == 0 || c.lse.size() == 0) return false;
  auto const operands = static_cast<cuda_operands>(be.how().operands);
  // gradients leave the range of f16 soon
  int const width = attention_width(c.q.ext[3], c.v.ext[3]), parts = operands == cuda_operands::bf16 ? 1 : 3;
  auto const worth = [&](auto const& v) { return worth_images(be, v, attention_query_rows, width, parts); };
  if (!has_room(be.how().block_bytes, width, parts) || !worth(c.q) || !worth(c.k) || !worth(c.v) ||
      !worth(c.dy))
    return false;
  attention_arrays const a = arrays_of(c);
  auto frame = be.scope();
  images_of_arrays<B> all(be, operands, parts, batch, width);
  backward_images const images{
      all.add(c.q, attention_query_rows, c.scale * log2_e, true), all.add(c.k, attention_query_rows, 1, true),
      all.add(c.v, attention_query_rows, 1, false), all.add(c.dy, attention_query_rows, 1, true)};
  all.make();
  extents<3> const rows{batch, heads, queries};
  attention_row_numbers const numbers{be.template scratch<float>(rows).ptr,
                                      be.template scratch<float>(rows).ptr};
  be.kernel(
      "attention_row_sums",
      {2.0 * static_cast<double>(c.y.size()), 4.0 * static_cast<double>(2 * c.y.size() + 3 * c.lse.size())},
      [&](cuda_launcher const& on) {
        index_t const count = batch * heads * queries;
        on.launch({dim3(blocks_for(count, long_team / short_team)), dim3(short_team, long_team / short_team)},
                  attention_row_sums<plus>, extents<4>{batch, heads, queries, c.y.ext[3]},
                  attention_row_source{c.y.ptr, outer_strides(c.y)},
                  attention_row_source{c.dy.ptr, outer_strides(c.dy)},
                  attention_row_source{c.lse.ptr, outer_strides(c.lse)}, numbers, plus{});
      });
  attention_gradients const to{
      c.dq.ptr, c.dk.ptr, c.dv.ptr, outer_strides(c.dq), outer_strides(c.dk), outer_strides(c.dv)};
  double const pairs = visible_pairs<B>(c), d = a.d, e = a.e;
  be.kernel(
      "attention_backward_queries",
      {2 * pairs * (2 * d + e), all.bytes() + 4.0 * static_cast<double>(c.q.size())},
      [&](cuda_launcher const& on) { backward_queries(on, parts, width, a, images, numbers, to, c.mask); });
  be.kernel(
      "attention_backward_keys",
      {2 * pairs * (2 * d + 2 * e), all.bytes() + 4.0 * static_cast<double>(c.k.size() + c.v.size())},
      [&](cuda_launcher const& on) { backward_keys(on, parts, width, a, images, numbers, to, c.mask); });
  return true;
}

}  // namespace smx
