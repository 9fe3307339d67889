// SPDX-License-Identifier: Apache-2.0
#include <examples/vit/options.hpp>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include <smx/core/check.hpp>

namespace smx_examples {

namespace {

/// FNV-1a, 64 bits.
std::uint64_t checksum(std::uint64_t sum, void const* data, std::size_t bytes) {
  for (auto const *at = static_cast<unsigned char const*>(data), *end = at + bytes; at != end; ++at)
    sum = (sum ^ *at) * 0x100000001b3ull;
  return sum;
}

/// The smallest side of at least 2 that divides both sides of the images into at most 64 patches.
index_t patch_for(index_t height, index_t width) {
  for (index_t p = 2; p <= std::min(height, width); ++p)
    if (height % p == 0 && width % p == 0 && height / p * (width / p) <= 64) return p;
  return std::min(height, width);
}

}  // namespace

dataset read_data(program_options const& o, std::vector<std::string> const& classes, bool unlabelled) {
  smx::expects(o.data.empty() != o.images.empty(),
               "--data, --images: expected a folder of images or an array, one of the two");
  smx::expects(o.labels.empty() || !o.images.empty(), "--labels: expected --images beside it");
  if (!o.images.empty()) {
    smx::expects(unlabelled || !o.labels.empty(), "--images: expected --labels beside it");
    return read_npy_images(o.images, o.labels);
  }
  if (unlabelled && !has_class_folders(o.data)) return read_unlabelled(o.data);
  return read_image_folders(o.data, classes);
}

nlohmann::json describe(dataset const& d, double held_out) {
  std::uint64_t sum = checksum(0xcbf29ce484222325ull, d.pixels.data(), d.pixels.size() * sizeof(float));
  sum = checksum(sum, d.labels.data(), d.labels.size() * sizeof(index_t));
  char text[24];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(sum));
  return {{"images", d.size()}, {"checksum", text}, {"held_out", held_out}};
}

void complete_config(program_options& o, dataset const& d, std::vector<index_t> const& members) {
  vit_config& c = o.model;
  smx::vit_sizes& s = c.sizes;
  s.image_channels = d.channels, s.image_height = d.height, s.image_width = d.width;
  if (s.patch_height == 0) s.patch_height = patch_for(d.height, d.width);
  s.patch_width = s.patch_height;
  if (s.mlp_channels == 0) s.mlp_channels = 2 * s.channels;
  if (o.pool.empty()) o.pool = c.mixer == "m2" ? "mean" : "class";
  s.class_token = o.pool == "class";
  c.scale = measure_pixels(d, members);
  c.classes = d.classes;
  if (c.classes.empty())
    for (index_t n = 0; n <= *std::max_element(d.labels.begin(), d.labels.end()); ++n)
      c.classes.push_back(std::to_string(n));
  s.classes = static_cast<index_t>(c.classes.size());
  smx::expects_value(s.classes >= 2, "data", "at least 2 classes", s.classes);
}

}  // namespace smx_examples
