// SPDX-License-Identifier: Apache-2.0
#include <examples/bert/folder.hpp>

#include <filesystem>

#include <examples/common/text/json_fields.hpp>

namespace smx_examples {
namespace {

namespace fs = std::filesystem;

void expect_folder(std::string const& path) {
  std::error_code code;
  if (!fs::is_directory(path, code))
    throw smx::file_error(
        path, fs::exists(path, code) ? "expected a folder with a model, got a file" : "no such folder");
}

void expect_text(nlohmann::json const& config, std::string const& file, char const* key,
                 char const* expected) {
  auto const it = config.find(key);
  if (it == config.end() || it->is_null()) return;
  if (!it->is_string() || it->get<std::string>() != expected)
    throw smx::file_error(file, std::string(key) + ": expected \"" + expected + "\", got " + it->dump());
}

void read_config(std::string const& file, bert_folder& folder) {
  nlohmann::json const config = read_json(file);
  if (!config.is_object()) throw smx::file_error(file, "expected a JSON object");
  for (auto const& [key, value] : config.items())
    if (value.is_number())
      folder.options[key] = value.get<double>();
    else if (value.is_boolean())
      folder.options[key] = value.get<bool>() ? 1 : 0;
  expect_text(config, file, "hidden_act", "gelu");
  expect_text(config, file, "position_embedding_type", "absolute");
}

}  // namespace

bert_folder read_bert_folder(std::string const& path) {
  expect_folder(path);
  std::error_code code;
  bert_folder folder;
  folder.path = path;
  for (char const* name : {"model.safetensors", "model.bin"})
    if (std::string const file = (fs::path(path) / name).string(); fs::exists(file, code)) {
      folder.weights_file = file;
      break;
    }
  if (folder.weights_file.empty())
    throw smx::file_error(path,
                          fs::exists(fs::path(path) / "pytorch_model.bin", code)
                              ? "expected model.safetensors; pytorch_model.bin is a Python pickle, which "
                                "is not read: convert it with the Python package safetensors"
                              : "expected model.safetensors in this folder");
  if (std::string const file = (fs::path(path) / "config.json").string(); fs::exists(file, code))
    read_config(file, folder);
  if (std::string const file = (fs::path(path) / "sentence_bert_config.json").string();
      fs::exists(file, code)) {
    nlohmann::json const config = read_json(file);
    if (auto const it = config.find("max_seq_length"); it != config.end() && it->is_number_integer())
      folder.most_tokens = it->get<smx::index_t>();
  }
  return folder;
}

wordpiece_tokenizer read_bert_tokenizer(std::string const& folder) {
  expect_folder(folder);
  std::error_code code;
  if (std::string const file = (fs::path(folder) / "tokenizer.json").string(); fs::exists(file, code))
    return wordpiece_tokenizer::from_tokenizer_json(file);
  if (std::string const file = (fs::path(folder) / "vocab.txt").string(); fs::exists(file, code))
    return wordpiece_tokenizer::from_vocabulary_file(file);
  throw smx::file_error(folder, "expected tokenizer.json or vocab.txt in this folder");
}

}  // namespace smx_examples
