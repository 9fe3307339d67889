// SPDX-License-Identifier: Apache-2.0
// The rival of the long convolution: cuFFT. Pad, r2c, multiply by a spectrum that exists, c2r; plans exist.
// What is quickest for the shape is chosen before the clock runs: all channels at once or slabs of them,
// which stay in cache; for (L,D) transforms along the strided axis or between transposes.
#include <cufft.h>

#include <cmath>
#include <memory>
#include <vector>

#include <bench/cuda/mixer_rows.cuh>

namespace {

using namespace bench;

void expect_success(cufftResult status, char const* what) {
  if (status != CUFFT_SUCCESS)
    throw std::runtime_error(std::string(what) + ": cuFFT status " +
                             std::to_string(static_cast<int>(status)));
}
using bench::expect_success;

template <class T> using array = smx::tensor<T, 1, smx::device_space>;

/// s[i] *= k[i] for complex numbers; the spectra of the kernels hold the scale of the inverse transform.
__global__ void multiply_spectra(index_t count, float2 const* k, float2* s) {
  for (index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += static_cast<index_t>(gridDim.x) * blockDim.x) {
    float2 const a = s[i], b = k[i];
    s[i] = {a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x};
  }
}
__global__ void scale_spectra(index_t count, float by, float2* s) {
  for (index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += static_cast<index_t>(gridDim.x) * blockDim.x)
    s[i] = {s[i].x * by, s[i].y * by};
}
/// to (columns,rows) at pitch `to_pitch` := the transpose of from (rows,columns) at pitch `from_pitch`.
__global__ void transpose_tiles(index_t rows, index_t columns, float const* from, index_t from_pitch,
                                float* to, index_t to_pitch) {
  __shared__ float tile[32][33];
  index_t const r0 = static_cast<index_t>(blockIdx.x) * 32, c0 = static_cast<index_t>(blockIdx.y) * 32;
  for (unsigned y = threadIdx.y; y < 32; y += blockDim.y)
    if (r0 + y < rows && c0 + threadIdx.x < columns)
      tile[y][threadIdx.x] = from[(r0 + y) * from_pitch + c0 + threadIdx.x];
  __syncthreads();
  for (unsigned y = threadIdx.y; y < 32; y += blockDim.y)
    if (c0 + y < columns && r0 + threadIdx.x < rows)
      to[(c0 + y) * to_pitch + r0 + threadIdx.x] = tile[threadIdx.x][y];
}

enum class way : char { rows, strided, transposed };

struct plan_pair {
  cufftHandle forward = 0, inverse = 0;
  plan_pair() = default;
  plan_pair(plan_pair const&) = delete;
  plan_pair& operator=(plan_pair const&) = delete;
  ~plan_pair() {
    if (forward != 0) static_cast<void>(cufftDestroy(forward));
    if (inverse != 0) static_cast<void>(cufftDestroy(inverse));
  }
};

/// One formulation: x, y of `channels` channels of `length`, as rows (D,L) or as columns (L,D).
class formulation {
 public:
  formulation(smx::cuda_backend& be, index_t length, index_t channels, way how, index_t slab,
              array<float> const& k)
      : be_(&be),
        length_(length),
        channels_(channels),
        slab_(slab),
        how_(how),
        padded_(be.memory(), {2 * length * slab}),
        spectrum_(be.memory(), {2 * (length + 1) * slab}),
        kernel_(be.memory(), {2 * (length + 1) * channels}) {
    bool const strided = how_ == way::strided;
    index_t const n = 2 * length_, half = length_ + 1, stride = strided ? slab_ : 1;
    make(plans_.forward, CUFFT_R2C, stride, strided ? 1 : n, stride, strided ? 1 : half);
    make(plans_.inverse, CUFFT_C2R, stride, strided ? 1 : half, stride, strided ? 1 : n);
    for (index_t c = 0; c < channels_; c += slab_) {  // the spectra of the kernels, k (D,L)
      clear();
      if (strided)
        transpose(k.data() + c * length_, slab_, length_, length_, padded_.data(), slab_);
      else
        rows_in(k.data() + c * length_);
      expect_success(cufftExecR2C(plans_.forward, padded_.data(), kernel_at(c)), "cufftExecR2C");
    }
    grid([&](unsigned blocks) {
      scale_spectra<<<blocks, 256, 0, be_->stream()>>>(half * channels_, 1.0f / static_cast<float>(n),
                                                       kernel_at(0));
    });
    clear();
    be_->synchronize();
  }

  std::string name() const {
    std::string const base = how_ == way::rows      ? "r2c, c2r of rows"
                             : how_ == way::strided ? "r2c, c2r along the strided axis"
                                                    : "r2c, c2r between transposes";
    return slab_ == channels_ ? base : base + ", " + std::to_string(slab_) + " channels at a time";
  }

  void run(float const* x, float* y) {
    for (index_t c = 0; c < channels_; c += slab_) {
      // Beyond `length` the padding is zero: transforms out of place leave their input alone, and c2r writes
      // to a buffer of its own.
      if (how_ == way::rows)
        rows_in(x + c * length_);
      else if (how_ == way::strided)
        copy(padded_.data(), slab_, x + c, channels_, slab_, length_);
      else
        transpose(x + c, length_, slab_, channels_, padded_.data(), 2 * length_);
      auto* const s = reinterpret_cast<float2*>(spectrum_.data());
      expect_success(cufftExecR2C(plans_.forward, padded_.data(), s), "cufftExecR2C");
      grid([&](unsigned blocks) {
        multiply_spectra<<<blocks, 256, 0, be_->stream()>>>((length_ + 1) * slab_, kernel_at(c), s);
      });
      expect_success(cufftExecC2R(plans_.inverse, s, out().data()), "cufftExecC2R");
      if (how_ == way::rows)
        copy(y + c * length_, length_, out().data(), 2 * length_, length_, slab_);
      else if (how_ == way::strided)
        copy(y + c, channels_, out().data(), slab_, slab_, length_);
      else
        transpose(out().data(), slab_, length_, 2 * length_, y + c, channels_);
    }
  }

 private:
  float2* kernel_at(index_t channel) {
    return reinterpret_cast<float2*>(kernel_.data()) + channel * (length_ + 1);
  }
  array<float>& out() {
    if (out_.size() == 0) out_ = array<float>(be_->memory(), {2 * length_ * slab_});
    return out_;
  }
  void make(cufftHandle& plan, cufftType type, index_t in_stride, index_t in_distance, index_t out_stride,
            index_t out_distance) {
    long long n = 2 * length_, embed = n;
    std::size_t work = 0;
    expect_success(cufftCreate(&plan), "cufftCreate");
    expect_success(cufftMakePlanMany64(plan, 1, &n, &embed, in_stride, in_distance, &embed, out_stride,
                                       out_distance, type, slab_, &work),
                   "cufftMakePlanMany64");
    expect_success(cufftSetStream(plan, be_->stream()), "cufftSetStream");
  }
  void clear() {
    expect_success(cudaMemsetAsync(padded_.data(), 0, padded_.bytes(), be_->stream()), "cudaMemsetAsync");
  }
  void copy(float* to, index_t to_pitch, float const* from, index_t from_pitch, index_t width, index_t rows) {
    auto const bytes = [](index_t n) { return 4 * static_cast<std::size_t>(n); };
    expect_success(cudaMemcpy2DAsync(to, bytes(to_pitch), from, bytes(from_pitch), bytes(width),
                                     static_cast<std::size_t>(rows), cudaMemcpyDeviceToDevice, be_->stream()),
                   "cudaMemcpy2DAsync");
  }
  void rows_in(float const* from) { copy(padded_.data(), 2 * length_, from, length_, length_, slab_); }
  void transpose(float const* from, index_t rows, index_t columns, index_t from_pitch, float* to,
                 index_t to_pitch) {
    dim3 const blocks(static_cast<unsigned>((rows + 31) / 32), static_cast<unsigned>((columns + 31) / 32));
    transpose_tiles<<<blocks, dim3(32, 8), 0, be_->stream()>>>(rows, columns, from, from_pitch, to, to_pitch);
    expect_success(cudaGetLastError(), "transpose_tiles");
  }
  template <class F> void grid(F const& launch) {
    launch(132 * 16);
    expect_success(cudaGetLastError(), "a kernel");
  }

  smx::cuda_backend* be_;
  index_t length_, channels_, slab_;
  way how_;
  array<float> padded_, spectrum_, kernel_, out_;
  plan_pair plans_;
};

struct cufft_stage {
  smx::cuda_backend be;
  array<float> k;
  std::vector<array<float>> x, y;
  std::unique_ptr<formulation> best;

  cufft_stage(index_t length, bool channel_major, int sets) : k(be.memory(), {length * curve_dim}) {
    filler<smx::cuda_backend> fill(be);
    fill.spread(1 / std::sqrt(static_cast<double>(length)), k.view());
    for (int s = 0; s < sets; ++s) {
      x.emplace_back(be.memory(), smx::extents<1>{length * curve_dim});
      y.emplace_back(be.memory(), smx::extents<1>{length * curve_dim});
      fill.spread(1, x.back().view());
    }
    be.synchronize();
    float best_ms = 0;
    std::vector<way> const ways =
        channel_major ? std::vector{way::rows} : std::vector{way::strided, way::transposed};
    for (way how : ways)
      for (index_t slab : {curve_dim, curve_dim / 8, curve_dim / 64}) {
        // Slabs are for what does not fit the cache at once, and are many small launches for what does.
        // Beyond 4 GiB a slab fills the GPU as well, and two formulations at once fit.
        if (slab != curve_dim && slab * length < (index_t{1} << 20)) continue;
        if (slab == curve_dim && slab * length > (index_t{1} << 29)) continue;
        auto one = std::make_unique<formulation>(be, length, curve_dim, how, slab, k);
        float const ms = time(*one);
        check(length, channel_major, one->name());
        if (best && ms >= best_ms) continue;
        best = std::move(one);
        best_ms = ms;
      }
  }

 private:
  /// Some outputs of one channel against the sum that defines them: a rival that computes something else is
  /// none.
  void check(index_t length, bool channel_major, std::string const& what) {
    constexpr index_t channel = 13;
    auto const column = [&](array<float> const& from) {
      std::vector<float> to(static_cast<std::size_t>(length));
      std::size_t const pitch = channel_major ? 4 : 4 * curve_dim;
      expect_success(cudaMemcpy2D(to.data(), 4, from.data() + channel * (channel_major ? length : 1), pitch,
                                  4, static_cast<std::size_t>(length), cudaMemcpyDeviceToHost),
                     "cudaMemcpy2D");
      return to;
    };
    std::vector<float> const in = column(x[0]), out = column(y[0]);
    std::vector<float> taps(static_cast<std::size_t>(length));
    expect_success(
        cudaMemcpy(taps.data(), k.data() + channel * length, 4 * taps.size(), cudaMemcpyDeviceToHost),
        "cudaMemcpy");
    for (std::size_t t : {std::size_t{0}, in.size() / 3, in.size() - 1}) {
      double sum = 0;
      for (std::size_t s = 0; s <= t; ++s)
        sum += static_cast<double>(taps[s]) * static_cast<double>(in[t - s]);
      // Rounding of a transform is some 1e-7 log2 n of the norm of the outputs, which are of order 1.
      if (!(std::fabs(sum - static_cast<double>(out[t])) < 1e-4))
        throw std::runtime_error("cuFFT, " + what + ": output " + std::to_string(t) + " is " +
                                 std::to_string(out[t]) + ", expected " + std::to_string(sum));
    }
  }

  float time(formulation& f) {
    cudaEvent_t start = nullptr, end = nullptr;
    expect_success(cudaEventCreate(&start), "cudaEventCreate");
    expect_success(cudaEventCreate(&end), "cudaEventCreate");
    float ms = 0;
    for (int n = 0; n < 2; ++n) {  // the second one counts
      expect_success(cudaEventRecord(start, be.stream()), "cudaEventRecord");
      for (std::size_t s = 0; s < x.size(); ++s) f.run(x[s].data(), y[s].data());
      expect_success(cudaEventRecord(end, be.stream()), "cudaEventRecord");
      expect_success(cudaEventSynchronize(end), "cudaEventSynchronize");
      expect_success(cudaEventElapsedTime(&ms, start, end), "cudaEventElapsedTime");
    }
    static_cast<void>(cudaEventDestroy(start));
    static_cast<void>(cudaEventDestroy(end));
    return ms;
  }
};

}  // namespace

void bench::add_cufft_peers(std::vector<gpu_row>& rows) {
  for (bool channel_major : {false, true})
    for (index_t length : powers(1024, longest)) {
      // Floating-point operations as one counts an FFT of n numbers: 5/2 n log2 n for real ones.
      double const n = 2.0 * static_cast<double>(length), channels = static_cast<double>(curve_dim);
      double const flops = channels * (2 * 2.5 * n * std::log2(n) + 3 * n), tensors = 4 * channels * 2.5 * n;
      rows.push_back({gpu_row_name("long_convolution", channel_major ? "causal-channel-major" : "causal",
                                   "forward", "cufft", length),
                      length, curve_dim, length,
                      [=] {
                        return costs{flops, 0, 0, tensors};
                      },
                      [=](int sets) {
                        auto const s = std::make_shared<cufft_stage>(length, channel_major, sets);
                        gpu_work w;
                        w.stream = s->be.stream();
                        w.sets = sets;
                        w.note = s->best->name();
                        w.call = [s](int set) {
                          auto const at = static_cast<std::size_t>(set);
                          s->best->run(s->x[at].data(), s->y[at].data());
                        };
                        return w;
                      }});
    }
}
