// SPDX-License-Identifier: Apache-2.0
/// \file  The batches of a training run: which images step s sees, and how they are shifted, follow from the
/// seed and s alone.
#pragma once

#include <cstdint>
#include <vector>

#include <examples/vit/dataset.hpp>

namespace smx_examples {

/// (value - mean) / deviation, the same for all pixels.
struct pixel_scale {
  double mean = 0, deviation = 1;
};

/// Mean and standard deviation of all pixels of these images; deviation 1 where all pixels are the same.
pixel_scale measure_pixels(dataset const& d, std::vector<index_t> const& members);

class image_batches {
 public:
  /// `shift`: images are moved by up to so many pixels along each axis; what comes in repeats the border.
  /// Throws precondition_error for a batch below 1 or above the number of members, or a shift that is
  /// negative or not below the image's sides.
  image_batches(dataset const& d, std::vector<index_t> members, pixel_scale scale, index_t batch,
                index_t shift, std::uint64_t seed);

  index_t batch() const { return batch_; }
  index_t epoch_steps() const { return static_cast<index_t>(members_.size()) / batch_; }

  /// Writes the images of a step to x (B,C,Y,X) and their labels. Each epoch is an order of its own; what is
  /// left over at its end is not seen in it.
  void fill(index_t step, float* x, index_t* labels);

 private:
  dataset const* data_;
  std::vector<index_t> members_, order_;
  pixel_scale scale_;
  index_t batch_, shift_;
  std::uint64_t seed_;
  index_t epoch_ = -1;
};

/// Images first .. first + count - 1 of the members, as they are.
void fill_images(dataset const& d, std::vector<index_t> const& members, pixel_scale scale, index_t first,
                 index_t count, float* x);

}  // namespace smx_examples
