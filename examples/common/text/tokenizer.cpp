// SPDX-License-Identifier: Apache-2.0
#include "examples/common/text/tokenizer.hpp"

#include <filesystem>

#include <smx/io/file_error.hpp>

namespace smx_examples {
namespace {

template <class... F> struct overloaded : F... { using F::operator()...; };
template <class... F> overloaded(F...) -> overloaded<F...>;

}  // namespace

tokenizer tokenizer::load(std::string const& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;  // what cannot be read fails below, with the system's reason
  if (fs::is_directory(path, ignored)) {
    for (char const* const name : {"tokenizer.json", "vocab.txt"})
      if (fs::exists(fs::path(path) / name, ignored)) return load((fs::path(path) / name).string());
    throw smx::file_error(path, "expected a tokenizer.json or a vocab.txt in this folder");
  }
  if (!path.ends_with(".json")) return any(wordpiece_tokenizer::from_vocabulary_file(path));
  nlohmann::json const json = read_json(path);
  json_fields root(json, path);
  json_fields model = root.object("model");
  std::string const type = model.text("type");
  if (type == "BPE") return any(byte_pair_tokenizer::from_tokenizer_json(json, path));
  if (type == "WordPiece") return any(wordpiece_tokenizer::from_tokenizer_json(json, path));
  model.fail_expected("type", "BPE or WordPiece");
}

std::vector<token_id> tokenizer::encode(std::string_view text, token_id max_tokens,
                                        special_tokens special) const {
  return std::visit(overloaded{[&](byte_tokenizer const& t) { return t.encode(text, max_tokens); },
                               [&](auto const& t) { return t.encode(text, max_tokens, special); }},
                    which_);
}

std::string tokenizer::decode(std::span<token_id const> ids, special_tokens special) const {
  return std::visit(overloaded{[&](byte_tokenizer const& t) { return t.decode(ids); },
                               [&](auto const& t) { return t.decode(ids, special); }},
                    which_);
}

token_id tokenizer::vocabulary_size() const {
  return std::visit([](auto const& t) { return t.vocabulary_size(); }, which_);
}

char const* tokenizer::kind() const {
  constexpr char const* names[] = {"bytes", "byte pairs", "word pieces"};
  return names[which_.index()];
}

}  // namespace smx_examples
