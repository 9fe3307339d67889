// SPDX-License-Identifier: Apache-2.0
#include <examples/vit/vit_config.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <smx/io/safetensors.hpp>

namespace smx_examples {

namespace fs = std::filesystem;
using nlohmann::json;
using smx::file_error;

namespace {

/// Entries of one JSON object of a file, each checked.
class fields {
 public:
  fields(json const& object, std::string path) : object_(object), path_(std::move(path)) {
    if (!object.is_object()) throw file_error(path_, "expected a JSON object");
  }
  bool has(char const* key) const { return object_.contains(key) && !object_[key].is_null(); }
  index_t size(char const* key) const {
    if (!has(key) || !object_[key].is_number_integer() || object_[key].get<index_t>() < 1 ||
        object_[key].get<index_t>() > most)
      fail(key, "expected an integer from 1 to 1000000");
    return object_[key].get<index_t>();
  }
  /// One size for height and width, or both in a list.
  std::pair<index_t, index_t> sizes(char const* key) const {
    if (!has(key) || !object_[key].is_array()) return {size(key), size(key)};
    json const& both = object_[key];
    if (both.size() != 2) fail(key, "expected one size, or height and width");
    auto const one = [&](json const& n) {
      if (!n.is_number_integer() || n.get<index_t>() < 1 || n.get<index_t>() > most)
        fail(key, "expected integers from 1 to 1000000");
      return n.get<index_t>();
    };
    return {one(both[0]), one(both[1])};
  }
  double number(char const* key) const {
    if (!has(key) || !object_[key].is_number()) fail(key, "expected a number");
    return object_[key].get<double>();
  }
  bool boolean(char const* key) const {
    if (!has(key) || !object_[key].is_boolean()) fail(key, "expected true or false");
    return object_[key].get<bool>();
  }
  std::string text(char const* key) const {
    if (!has(key) || !object_[key].is_string()) fail(key, "expected a text");
    return object_[key].get<std::string>();
  }
  std::vector<std::string> texts(char const* key) const {
    if (!has(key) || !object_[key].is_array()) fail(key, "expected a list of texts");
    std::vector<std::string> all;
    for (json const& one : object_[key]) {
      if (!one.is_string()) fail(key, "expected a list of texts");
      all.push_back(one.get<std::string>());
    }
    return all;
  }
  [[noreturn]] void fail(char const* key, std::string const& what) const {
    throw file_error(path_, "config: '" + std::string(key) + "': " + what);
  }

 private:
  static constexpr index_t most = 1000000;
  json const& object_;
  std::string path_;
};

json read_json(std::string const& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) smx::detail::fail_system(path, "cannot open for reading", errno);
  json parsed = json::parse(file, nullptr, false);
  if (parsed.is_discarded()) throw file_error(path, "not JSON");
  return parsed;
}

vit_config of_checkpoint(json const& model, std::string const& path) {
  fields const f(model, path);
  vit_config c;
  c.mixer = f.text("mixer");
  if (std::find(vit_mixers().begin(), vit_mixers().end(), c.mixer) == vit_mixers().end())
    f.fail("mixer", "expected m2 or softmax, got '" + c.mixer + "'");
  smx::vit_sizes& s = c.sizes;
  std::tie(s.image_height, s.image_width) = f.sizes("image");
  std::tie(s.patch_height, s.patch_width) = f.sizes("patch");
  s.image_channels = f.size("image_channels");
  s.channels = f.size("channels");
  s.depth = f.size("depth");
  s.mlp_channels = f.size("mlp_channels");
  s.mlp_blocks = f.size("mlp_blocks");
  s.heads = f.size("heads");
  s.filter_width = f.size("filter_width");
  s.class_token = f.boolean("class_token");
  s.eps = f.number("eps");
  s.deviation = f.number("deviation");
  c.scale = {f.number("pixel_mean"), f.number("pixel_deviation")};
  if (!(c.scale.deviation > 0)) f.fail("pixel_deviation", "expected a positive number");
  c.classes = f.texts("classes");
  s.classes = static_cast<index_t>(c.classes.size());
  if (c.classes.empty()) f.fail("classes", "expected at least one class");
  return c;
}

/// The one number of a list that has the same for all channels.
double same_for_all(fields const& f, json const& object, char const* key) {
  json const& list = object[key];
  if (!list.is_array() || list.empty()) f.fail(key, "expected a list of numbers");
  for (json const& one : list)
    if (!one.is_number() || one != list[0]) f.fail(key, "expected one number for all channels");
  return list[0].get<double>();
}

vit_source published(std::string const& folder) {
  std::string const path = folder + "/config.json";
  json const config = read_json(path);
  fields const f(config, path);
  if (f.text("model_type") != "vit") f.fail("model_type", "expected vit, got " + f.text("model_type"));
  if (f.has("hidden_act") && f.text("hidden_act") != "gelu")
    f.fail("hidden_act", "expected gelu, got " + f.text("hidden_act"));
  vit_source from;
  from.published = true;
  from.weights = folder + "/model.safetensors";
  vit_config& c = from.config;
  c.mixer = "softmax";
  smx::vit_sizes& s = c.sizes;
  std::tie(s.image_height, s.image_width) = f.sizes("image_size");
  std::tie(s.patch_height, s.patch_width) = f.sizes("patch_size");
  s.image_channels = f.size("num_channels");
  s.channels = f.size("hidden_size");
  s.depth = f.size("num_hidden_layers");
  s.heads = f.size("num_attention_heads");
  s.mlp_channels = f.size("intermediate_size");
  if (f.has("layer_norm_eps")) s.eps = f.number("layer_norm_eps");
  if (f.has("qkv_bias")) c.qkv_bias = f.boolean("qkv_bias");
  if (f.has("id2label")) {
    fields const names(config["id2label"], path);
    for (std::size_t n = 0; n < config["id2label"].size(); ++n)
      c.classes.push_back(names.text(std::to_string(n).c_str()));
  } else if (smx::safetensors_file const file(from.weights); file.contains("classifier.weight")) {
    for (index_t n = 0; n < file.at("classifier.weight").shape.at(0); ++n)
      c.classes.push_back(std::to_string(n));
  }
  if (c.classes.empty()) f.fail("id2label", "expected the names of classes, or a tensor 'classifier.weight'");
  s.classes = static_cast<index_t>(c.classes.size());
  c.scale = {127.5, 127.5};
  std::string const how = folder + "/preprocessor_config.json";
  if (fs::exists(how)) {
    json const pixels = read_json(how);
    fields const p(pixels, how);
    double const factor = p.has("rescale_factor") ? p.number("rescale_factor") : 1.0 / 255;
    if (p.has("image_mean")) c.scale.mean = same_for_all(p, pixels, "image_mean") / factor;
    if (p.has("image_std")) c.scale.deviation = same_for_all(p, pixels, "image_std") / factor;
    if (!(c.scale.deviation > 0)) p.fail("image_std", "expected positive numbers");
  }
  return from;
}

}  // namespace

std::vector<std::string> const& vit_mixers() {
  static std::vector<std::string> const names{"m2", "softmax"};
  return names;
}

json to_json(vit_config const& c) {
  smx::vit_sizes const& s = c.sizes;
  return {{"mixer", c.mixer},
          {"image", {s.image_height, s.image_width}},
          {"image_channels", s.image_channels},
          {"patch", {s.patch_height, s.patch_width}},
          {"channels", s.channels},
          {"depth", s.depth},
          {"mlp_channels", s.mlp_channels},
          {"mlp_blocks", s.mlp_blocks},
          {"heads", s.heads},
          {"filter_width", s.filter_width},
          {"class_token", s.class_token},
          {"eps", s.eps},
          {"deviation", s.deviation},
          {"pixel_mean", c.scale.mean},
          {"pixel_deviation", c.scale.deviation},
          {"classes", c.classes}};
}

vit_source read_vit_source(std::string const& path) {
  std::error_code failed;
  if (fs::is_directory(path, failed)) return published(path);
  smx::safetensors_file const file(path);
  auto const it = file.metadata().find("config");
  if (it == file.metadata().end())
    throw file_error(path, "not a checkpoint of smx-vit: its metadata has no 'config'");
  vit_source from;
  from.run = json::parse(it->second, nullptr, false);
  if (!from.run.is_object() || !from.run.contains("vit"))
    throw file_error(path, "not a checkpoint of smx-vit: its config has no 'vit'");
  from.config = of_checkpoint(from.run["vit"], path);
  from.weights = path;
  return from;
}

void expect_images_fit(vit_config const& c, dataset const& d, std::string const& source) {
  smx::vit_sizes const& s = c.sizes;
  auto const print = [](index_t channels, index_t height, index_t width) {
    return std::to_string(width) + "x" + std::to_string(height) + " pixels of " + std::to_string(channels) +
           (channels == 1 ? " channel" : " channels");
  };
  if (d.channels != s.image_channels || d.height != s.image_height || d.width != s.image_width)
    throw file_error(source, "expected images of " + print(s.image_channels, s.image_height, s.image_width) +
                                 " as the model has, got " + print(d.channels, d.height, d.width));
}

}  // namespace smx_examples
