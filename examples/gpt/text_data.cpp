// SPDX-License-Identifier: Apache-2.0
#include <examples/gpt/text_data.hpp>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <examples/common/training/loop_options.hpp>
#include <smx/io/file_error.hpp>
#include <smx/io/json_header.hpp>

namespace smx_examples {

namespace fs = std::filesystem;

namespace {

std::string read_text(std::string const& path) {
  std::error_code code;
  if (fs::is_directory(path, code)) throw smx::file_error(path, "is a directory; expected a file of text");
  std::ifstream file(path, std::ios::binary);
  if (!file) smx::detail::fail_system(path, "cannot open for reading", errno);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) throw smx::file_error(path, "cannot read");
  if (text.empty()) throw smx::file_error(path, "is empty; expected text");
  return text;
}

/// FNV-1a, by G. Fowler, L. Noll and K.-P. Vo.
std::uint64_t checksum(std::string_view text, std::uint64_t sum) {
  for (char const c : text) sum = (sum ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return sum;
}

/// The first byte of a character at or before `at`.
std::size_t character_begin(std::string const& text, std::size_t at) {
  while (at > 0 && at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0u) == 0x80u) --at;
  return at;
}

}  // namespace

codec::codec(std::string const& tokenizer_json) {
  if (!tokenizer_json.empty())
    pairs_ =
        std::make_shared<byte_pair_tokenizer const>(byte_pair_tokenizer::from_tokenizer_json(tokenizer_json));
}

smx::index_t codec::vocabulary() const { return bytes() ? 256 : pairs_->vocabulary_size(); }

std::vector<std::int32_t> codec::encode(std::string_view text, std::string const& name) const {
  std::vector<std::int32_t> tokens;
  if (bytes()) {
    for (char const c : text) tokens.push_back(static_cast<unsigned char>(c));
    return tokens;
  }
  if (!smx::detail::is_utf8(text))
    throw smx::file_error(name,
                          "is not UTF-8, which byte pairs need; without --tokenizer any bytes are text");
  for (token_id const id : pairs_->encode(text, byte_pair_tokenizer::no_limit, special_tokens::without))
    tokens.push_back(static_cast<std::int32_t>(id));
  return tokens;
}

std::string codec::decode(smx::index_t token) const {
  if (bytes()) return std::string(1, static_cast<char>(token));
  return pairs_->decode(std::vector<token_id>{token});
}

std::vector<std::string> default_texts(std::string const& folder) {
  std::vector<std::string> files;
  std::error_code code;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code))
    if (!it->is_symlink() && it->is_regular_file()) files.push_back(it->path().string());
  if (files.empty()) throw smx::file_error(folder, "has no texts to learn from here; give --text FILE...");
  std::sort(files.begin(), files.end());
  return files;
}

text_data read_texts(std::vector<std::string> const& files, double held_out, codec const& c) {
  expects_number(held_out >= 0 && held_out < 1, "held-out", "a share from 0 to below 1", held_out);
  text_data all;
  std::uint64_t sum = 14695981039346656037u;
  auto const add = [&](std::string_view part, std::string const& name, std::vector<std::int32_t>& to) {
    if (part.empty()) return;
    auto const tokens = c.encode(part, name);
    to.insert(to.end(), tokens.begin(), tokens.end());
  };
  for (std::string const& name : files) {
    std::string const text = read_text(name);
    auto const wanted = static_cast<std::size_t>(held_out * static_cast<double>(text.size()));
    std::size_t const cut = c.bytes() ? text.size() - wanted : character_begin(text, text.size() - wanted);
    add(std::string_view(text).substr(0, cut), name, all.train);
    add(std::string_view(text).substr(cut), name, all.held_out);
    all.train_bytes += cut, all.held_out_bytes += text.size() - cut;
    sum = checksum(text, sum);
  }
  all.about = {{"files", files},
               {"held_out", held_out},
               {"train_bytes", all.train_bytes},
               {"held_out_bytes", all.held_out_bytes},
               {"checksum", sum}};
  return all;
}

void expects_sequence(std::vector<std::int32_t> const& tokens, smx::index_t length, char const* which) {
  if (static_cast<smx::index_t>(tokens.size()) > length) return;
  smx::expects(false, (std::string("text: expected at least ") + std::to_string(length + 1) + " tokens " +
                       which + " (a sequence of --length " + std::to_string(length) +
                       " and the token behind it), got " + std::to_string(tokens.size()))
                          .c_str());
}

}  // namespace smx_examples
