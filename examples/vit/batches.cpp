// SPDX-License-Identifier: Apache-2.0
#include <examples/vit/batches.hpp>

#include <algorithm>
#include <cmath>

#include <examples/vit/shuffle.hpp>
#include <smx/core/check.hpp>

namespace smx_examples {

namespace {

/// The image moved down by dy and right by dx.
void copy_image(dataset const& d, index_t n, pixel_scale scale, index_t dy, index_t dx, float* to) {
  float const* const from = d.image(n);
  auto const mean = static_cast<float>(scale.mean), factor = static_cast<float>(1 / scale.deviation);
  for (index_t c = 0; c < d.channels; ++c)
    for (index_t y = 0; y < d.height; ++y) {
      index_t const row = std::clamp<index_t>(y - dy, 0, d.height - 1);
      for (index_t x = 0; x < d.width; ++x) {
        index_t const column = std::clamp<index_t>(x - dx, 0, d.width - 1);
        *to++ = (from[(c * d.height + row) * d.width + column] - mean) * factor;
      }
    }
}

}  // namespace

pixel_scale measure_pixels(dataset const& d, std::vector<index_t> const& members) {
  double sum = 0, squares = 0;
  for (index_t const n : members)
    for (index_t i = 0; i < d.image_size(); ++i) {
      double const v = d.image(n)[i];
      sum += v, squares += v * v;
    }
  double const count = static_cast<double>(members.size()) * static_cast<double>(d.image_size());
  double const mean = sum / count, variance = squares / count - mean * mean;
  return {mean, variance > 0 ? std::sqrt(variance) : 1};
}

image_batches::image_batches(dataset const& d, std::vector<index_t> members, pixel_scale scale, index_t batch,
                             index_t shift, std::uint64_t seed)
    : data_(&d), members_(std::move(members)), scale_(scale), batch_(batch), shift_(shift), seed_(seed) {
  smx::expects_value(batch >= 1 && batch <= static_cast<index_t>(members_.size()), "--batch",
                     "1 to the number of training images", batch);
  smx::expects_value(shift >= 0 && shift < d.height && shift < d.width, "--shift",
                     "0 up to below the images' sides", shift);
}

void image_batches::fill(index_t step, float* x, index_t* labels) {
  index_t const epoch = step / epoch_steps(), first = step % epoch_steps() * batch_;
  if (epoch != epoch_) {
    order_ = members_;
    shuffle(order_, seed_ + 1, static_cast<std::uint64_t>(epoch));
    epoch_ = epoch;
  }
  smx::random_stream const moves{seed_ + 2, static_cast<std::uint64_t>(step)};
  auto const move = [&](std::uint64_t entry) {
    return static_cast<index_t>(moves.uniform(entry) * static_cast<double>(2 * shift_ + 1)) - shift_;
  };
  for (index_t b = 0; b < batch_; ++b) {
    index_t const n = order_[static_cast<std::size_t>(first + b)];
    auto const entry = 2 * static_cast<std::uint64_t>(b);
    copy_image(*data_, n, scale_, move(entry), move(entry + 1), x + b * data_->image_size());
    labels[b] = data_->labels[static_cast<std::size_t>(n)];
  }
}

void fill_images(dataset const& d, std::vector<index_t> const& members, pixel_scale scale, index_t first,
                 index_t count, float* x) {
  for (index_t b = 0; b < count; ++b)
    copy_image(d, members[static_cast<std::size_t>(first + b)], scale, 0, 0, x + b * d.image_size());
}

}  // namespace smx_examples
