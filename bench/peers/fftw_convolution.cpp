// SPDX-License-Identifier: Apache-2.0
/// \file  The same causal convolution with FFTW: channel-major (D,L), one thread, f32, kernel spectra
/// precomputed.
///
/// Each channel: copy into a padded buffer that stays in cache, real transform of the next 2^a 3^b 5^c length
/// from 2 L - 1 on, product with the kernel's spectrum, inverse transform, copy out. Plans by FFTW_MEASURE.
/// Speaks lines: see peers.py.
#include <fftw3.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <complex>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

using clock_type = std::chrono::steady_clock;

double seconds_since(clock_type::time_point start) {
  return std::chrono::duration<double>(clock_type::now() - start).count();
}

/// A length that FFTW likes: no prime above 5, even.
int transform_length(int least) {
  for (int n = least;; ++n) {
    int rest = n;
    for (int p : {2, 3, 5})
      while (rest % p == 0) rest /= p;
    if (rest == 1 && n % 2 == 0) return n;
  }
}

class convolution {
 public:
  convolution(int length, int channels, int size)
      : length_(length),
        channels_(channels),
        size_(size),
        bins_(size / 2 + 1),
        real_(fftwf_alloc_real(static_cast<std::size_t>(size))),
        spectrum_(fftwf_alloc_complex(static_cast<std::size_t>(bins_))),
        to_(fftwf_plan_dft_r2c_1d(size, real_, spectrum_, FFTW_MEASURE)),
        back_(fftwf_plan_dft_c2r_1d(size, spectrum_, real_, FFTW_MEASURE)),
        x_(entries()),
        y_(entries()),
        kernel_(static_cast<std::size_t>(bins_) * static_cast<std::size_t>(channels)) {
    for (std::size_t i = 0; i < x_.size(); ++i) x_[i] = static_cast<float>(i % 17) * 0.125f - 1.0f;
    for (int d = 0; d < channels_; ++d) {
      std::fill_n(real_, size_, 0.0f);
      for (int t = 0; t < length_; ++t) real_[t] = static_cast<float>(kernel_entry(d, t));
      fftwf_execute(to_);
      auto const* const z = reinterpret_cast<std::complex<float> const*>(spectrum_);
      std::copy_n(z, bins_, kernel_.data() + static_cast<std::size_t>(d) * static_cast<std::size_t>(bins_));
    }
  }
  convolution(convolution const&) = delete;
  convolution& operator=(convolution const&) = delete;
  ~convolution() {
    fftwf_destroy_plan(to_);
    fftwf_destroy_plan(back_);
    fftwf_free(real_);
    fftwf_free(spectrum_);
  }

  void run() {
    float const scale = 1.0f / static_cast<float>(size_);
    auto* const z = reinterpret_cast<std::complex<float>*>(spectrum_);
    for (int d = 0; d < channels_; ++d) {
      auto const row = static_cast<std::size_t>(d) * static_cast<std::size_t>(length_);
      std::copy_n(x_.data() + row, length_, real_);
      std::fill_n(real_ + length_, size_ - length_, 0.0f);
      fftwf_execute(to_);
      auto const* const k = kernel_.data() + static_cast<std::size_t>(d) * static_cast<std::size_t>(bins_);
      for (int i = 0; i < bins_; ++i) {  // written out: operator* of std::complex checks for NaN
        float const re = z[i].real() * k[i].real() - z[i].imag() * k[i].imag();
        float const im = z[i].real() * k[i].imag() + z[i].imag() * k[i].real();
        z[i] = {re * scale, im * scale};
      }
      fftwf_execute(back_);
      std::copy_n(real_, length_, y_.data() + row);
    }
  }

  /// Largest difference of y from the sum, at a few places, relative to |k| |x|: what the errors of a
  /// transform go with.
  double error() const {
    double worst = 0;
    for (int d = 0; d < channels_; d += std::max(1, channels_ / 3)) {
      double kk = 1e-30, xx = 1e-30;
      for (int t = 0; t < length_; ++t) {
        kk += kernel_entry(d, t) * kernel_entry(d, t);
        xx += static_cast<double>(x_[at(d, t)]) * static_cast<double>(x_[at(d, t)]);
      }
      for (int t = 0; t < length_; t += std::max(1, length_ / 5)) {
        double sum = 0;
        for (int s = 0; s <= t; ++s) sum += kernel_entry(d, s) * static_cast<double>(x_[at(d, t - s)]);
        worst = std::max(worst, std::abs(sum - static_cast<double>(y_[at(d, t)])) / std::sqrt(kk * xx));
      }
    }
    return worst;
  }

 private:
  static double kernel_entry(int d, int t) { return ((t * 7 + d) % 13) * 0.01 - 0.06; }
  std::size_t entries() const {
    return static_cast<std::size_t>(length_) * static_cast<std::size_t>(channels_);
  }
  std::size_t at(int d, int t) const {
    return static_cast<std::size_t>(d) * static_cast<std::size_t>(length_) + static_cast<std::size_t>(t);
  }

  int length_, channels_, size_, bins_;
  float* real_;
  fftwf_complex* spectrum_;
  fftwf_plan to_, back_;
  std::vector<float> x_, y_;
  std::vector<std::complex<float>> kernel_;
};

/// Milliseconds a call, over calls that fill about `seconds`.
double time_calls(convolution& c, double seconds) {
  int calls = 0;
  auto const start = clock_type::now();
  do {
    c.run();
    ++calls;
  } while (seconds_since(start) < seconds);
  return 1e3 * seconds_since(start) / calls;
}

}  // namespace

int main(int argc, char** argv) {
  int const length = argc == 3 ? std::atoi(argv[1]) : 0, channels = argc == 3 ? std::atoi(argv[2]) : 0;
  if (length < 1 || channels < 1 || length > (1 << 24) || channels > (1 << 20)) {
    std::fprintf(
        stderr, "usage: fftw_convolution LENGTH CHANNELS, then one line of seconds a measurement on stdin\n");
    return 2;
  }
  // The two natural lengths; FFTW is not always quickest at the shorter.
  int const sizes[] = {transform_length(2 * length - 1), 2 * length};
  convolution shortest(length, channels, sizes[0]), twice(length, channels, sizes[1] + sizes[1] % 2);
  double const a = (time_calls(shortest, 0), time_calls(shortest, 0.05)),
               b = (time_calls(twice, 0), time_calls(twice, 0.05));
  convolution& best = a < b ? shortest : twice;
  if (best.error() > 1e-6) {
    std::fprintf(stderr, "fftw_convolution: wrong result, relative error %g\n", best.error());
    return 1;
  }
  std::printf("%s; r2c and c2r of %d, one channel at a time, FFTW_MEASURE\n", fftwf_version,
              a < b ? sizes[0] : sizes[1]);
  std::fflush(stdout);
  for (double seconds; std::scanf("%lf", &seconds) == 1;) {
    best.run();  // what ran in between has the caches
    std::printf("%.9g\n", time_calls(best, seconds));
    std::fflush(stdout);
  }
  return 0;
}
