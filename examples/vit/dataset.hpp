// SPDX-License-Identifier: Apache-2.0
/// \file  Labelled images from folders or NumPy arrays, in memory.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <smx/core/extents.hpp>

namespace smx_examples {

using smx::index_t;

/// N images of one size. Labels are -1 where they are not known.
struct dataset {
  index_t channels = 1, height = 0, width = 0;
  std::vector<float> pixels;  // (N,C,Y,X), as the files have them (pictures: 0 .. 255)
  std::vector<index_t> labels;
  std::vector<std::string> classes;  // names; empty where nobody names them
  std::vector<std::string> names;    // of the images, for messages and the table of predictions

  index_t size() const { return static_cast<index_t>(labels.size()); }
  index_t image_size() const { return channels * height * width; }
  float const* image(index_t n) const { return pixels.data() + n * image_size(); }
};

/// A folder with one folder for each class, whose files are all pictures of one size; hidden files are left
/// out, classes are in the order of their names. `classes`: the names that a model knows, in its order;
/// empty: all of the folder. Throws smx::file_error for an empty folder, a file that is no picture, another
/// size (both files are named), and a class that the model does not know.
dataset read_image_folders(std::string const& folder, std::vector<std::string> const& classes = {});

/// Whether there is a folder in this folder.
bool has_class_folders(std::string const& folder);

/// Pictures without labels: a file, or all files of a folder.
dataset read_unlabelled(std::string const& path);

/// Arrays: images (N,Y,X), (N,C,Y,X) or (N,Y,X,C) with C = 1 or 3; labels (N), integers from 0, or no file.
/// Throws smx::file_error for other shapes and types, numbers that are not finite, labels that are not as
/// many as the images, or negative.
dataset read_npy_images(std::string const& images, std::string const& labels);

/// Throws smx::file_error, which names `source`, for the first label that is no class of 0 .. classes - 1.
void expect_labels_below(dataset const& d, index_t classes, std::string const& source);

/// Indices for training and for holding out: every class by itself is shuffled with the seed, and a share of
/// it, rounded, is held out; both lists are ascending.
std::pair<std::vector<index_t>, std::vector<index_t>> split(dataset const& d, double held_out,
                                                            std::uint64_t seed);

}  // namespace smx_examples
