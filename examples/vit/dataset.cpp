// SPDX-License-Identifier: Apache-2.0
#include <examples/vit/dataset.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include <examples/vit/image.hpp>
#include <examples/vit/shuffle.hpp>
#include <smx/io/npy.hpp>

namespace smx_examples {

namespace fs = std::filesystem;
using smx::file_error;

namespace {

/// The entries of a folder that are not hidden, by name.
std::vector<fs::path> entries(std::string const& folder) {
  std::error_code failed;
  std::vector<fs::path> found;
  if (!fs::is_directory(folder, failed))
    throw file_error(folder, fs::exists(folder, failed) ? "expected a folder, got a file" : "no such folder");
  for (auto it = fs::directory_iterator(folder, failed); !failed && it != fs::directory_iterator();
       it.increment(failed))
    if (!it->path().filename().string().starts_with('.')) found.push_back(it->path());
  if (failed) throw file_error(folder, "cannot read the folder: " + failed.message());
  std::sort(found.begin(), found.end());
  return found;
}

std::string print_size(image const& i) { return std::to_string(i.width) + "x" + std::to_string(i.height); }

/// Collects pictures; grey ones become coloured where there is a coloured one.
class collector {
 public:
  void add(std::string const& path, index_t label) {
    image one = read_image(path);
    if (!images_.empty() && (one.height != images_[0].height || one.width != images_[0].width))
      throw file_error(path, "expected " + print_size(images_[0]) + " pixels as " + d_.names[0] +
                                 " has, got " + print_size(one));
    d_.labels.push_back(label);
    d_.names.push_back(path);
    images_.push_back(std::move(one));
  }
  dataset finish() {
    d_.height = images_[0].height, d_.width = images_[0].width;
    for (image const& one : images_) d_.channels = std::max(d_.channels, one.channels);
    d_.pixels.reserve(images_.size() * static_cast<std::size_t>(d_.image_size()));
    for (image const& one : images_)
      for (index_t c = 0; c < d_.channels; ++c)
        for (index_t y = 0; y < d_.height; ++y)
          for (index_t x = 0; x < d_.width; ++x)
            d_.pixels.push_back(static_cast<float>(one.at(y, x)[one.channels == 1 ? 0 : c]));
    return std::move(d_);
  }
  bool empty() const { return images_.empty(); }
  dataset& data() { return d_; }

 private:
  std::vector<image> images_;
  dataset d_;
};

}  // namespace

dataset read_image_folders(std::string const& folder, std::vector<std::string> const& classes) {
  collector all;
  all.data().classes = classes;
  for (fs::path const& at : entries(folder)) {
    if (!fs::is_directory(at))
      throw file_error(at.string(), "expected a folder of images for each class, got a file");
    std::string const name = at.filename().string();
    auto known = std::find(all.data().classes.begin(), all.data().classes.end(), name);
    if (known == all.data().classes.end()) {
      if (!classes.empty()) {
        std::string list;
        for (auto const& one : classes) list += (list.empty() ? "" : ", ") + one;
        throw file_error(at.string(), "expected one of the model's classes (" + list + ")");
      }
      known = all.data().classes.insert(known, name);
    }
    index_t const label = known - all.data().classes.begin();
    std::vector<fs::path> const files = entries(at.string());
    if (files.empty()) throw file_error(at.string(), "the folder of this class is empty");
    for (fs::path const& file : files) all.add(file.string(), label);
  }
  if (all.empty()) throw file_error(folder, "expected folders of images, one for each class; it is empty");
  return all.finish();
}

bool has_class_folders(std::string const& folder) {
  std::error_code failed;
  if (!fs::is_directory(folder, failed)) return false;
  std::vector<fs::path> const all = entries(folder);
  return std::any_of(all.begin(), all.end(), [](fs::path const& one) { return fs::is_directory(one); });
}

dataset read_unlabelled(std::string const& path) {
  collector all;
  std::error_code failed;
  if (!fs::is_directory(path, failed)) {
    all.add(path, -1);
    return all.finish();
  }
  for (fs::path const& file : entries(path)) all.add(file.string(), -1);
  if (all.empty()) throw file_error(path, "expected images; the folder is empty");
  return all.finish();
}

dataset read_npy_images(std::string const& images, std::string const& labels) {
  smx::npy_file const file(images);
  std::vector<index_t> const& shape = file.shape();
  auto const is_depth = [](index_t n) { return n == 1 || n == 3; };
  bool const last = shape.size() == 4 && !is_depth(shape[1]) && is_depth(shape[3]);
  if (file.size() == 0 || !(shape.size() == 3 || (shape.size() == 4 && (last || is_depth(shape[1])))))
    throw file_error(images,
                     "expected images of extents (N,Y,X), (N,C,Y,X) or (N,Y,X,C) with C = 1 or 3, got " +
                         smx::detail::print_shape(shape));
  dataset d;
  index_t const count = shape[0];
  d.channels = shape.size() == 3 ? 1 : last ? shape[3] : shape[1];
  d.height = shape.size() == 3 || last ? shape[1] : shape[2];
  d.width = shape.size() == 3 || last ? shape[2] : shape[3];
  d.pixels = file.read<float>();
  if (last) {
    std::vector<float> const by_pixel = std::move(d.pixels);
    d.pixels.assign(by_pixel.size(), 0);
    index_t const area = d.height * d.width;
    for (index_t n = 0; n < count; ++n)
      for (index_t p = 0; p < area; ++p)
        for (index_t c = 0; c < d.channels; ++c)
          d.pixels[static_cast<std::size_t>((n * d.channels + c) * area + p)] =
              by_pixel[static_cast<std::size_t>((n * area + p) * d.channels + c)];
  }
  for (float const value : d.pixels)
    if (!std::isfinite(value)) throw file_error(images, "expected finite numbers, got an infinity or NaN");
  for (index_t n = 0; n < count; ++n) d.names.push_back("image " + std::to_string(n));
  d.labels.assign(static_cast<std::size_t>(count), -1);
  if (labels.empty()) return d;
  smx::npy_file const of_labels(labels);
  if (of_labels.shape() != std::vector<index_t>{count})
    throw file_error(labels, "expected a label for each of the " + std::to_string(count) +
                                 " images, extents (" + std::to_string(count) + "), got " +
                                 smx::detail::print_shape(of_labels.shape()));
  d.labels = of_labels.read<std::int64_t>();
  for (std::size_t n = 0; n < d.labels.size(); ++n)
    if (d.labels[n] < 0)
      throw file_error(labels, "entry " + std::to_string(n) + ": expected a label of at least 0, got " +
                                   std::to_string(d.labels[n]));
  return d;
}

void expect_labels_below(dataset const& d, index_t classes, std::string const& source) {
  for (std::size_t n = 0; n < d.labels.size(); ++n)
    if (d.labels[n] >= classes)
      throw file_error(source, d.names[n] + ": expected a label of 0 to " + std::to_string(classes - 1) +
                                   ", got " + std::to_string(d.labels[n]));
}

std::pair<std::vector<index_t>, std::vector<index_t>> split(dataset const& d, double held_out,
                                                            std::uint64_t seed) {
  std::map<index_t, std::vector<index_t>> by_class;
  for (index_t n = 0; n < d.size(); ++n) by_class[d.labels[static_cast<std::size_t>(n)]].push_back(n);
  std::pair<std::vector<index_t>, std::vector<index_t>> parts;
  for (auto& [label, members] : by_class) {
    shuffle(members, seed, static_cast<std::uint64_t>(label));
    auto const out = static_cast<std::size_t>(held_out * static_cast<double>(members.size()) + 0.5);
    parts.second.insert(parts.second.end(), members.begin(),
                        members.begin() + static_cast<std::ptrdiff_t>(out));
    parts.first.insert(parts.first.end(), members.begin() + static_cast<std::ptrdiff_t>(out), members.end());
  }
  std::sort(parts.first.begin(), parts.first.end());
  std::sort(parts.second.begin(), parts.second.end());
  return parts;
}

}  // namespace smx_examples
