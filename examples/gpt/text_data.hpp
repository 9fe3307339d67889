// SPDX-License-Identifier: Apache-2.0
/// \file  Texts as tokens: bytes, or byte pairs of a tokenizer.json; the end of each file is held out.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <examples/common/text/byte_pair.hpp>
#include <nlohmann/json.hpp>
#include <smx/core/extents.hpp>

namespace smx_examples {

/// Text to tokens and back.
class codec {
 public:
  /// Bytes where there is no file. Throws smx::file_error for a damaged one.
  explicit codec(std::string const& tokenizer_json = "");

  bool bytes() const { return pairs_ == nullptr; }
  smx::index_t vocabulary() const;
  /// `name` is that of the text, for messages. Throws smx::file_error where it must be UTF-8 and is not.
  std::vector<std::int32_t> encode(std::string_view text, std::string const& name) const;
  /// The bytes of one token.
  std::string decode(smx::index_t token) const;

 private:
  std::shared_ptr<byte_pair_tokenizer const> pairs_;
};

struct text_data {
  std::vector<std::int32_t> train, held_out;
  std::size_t train_bytes = 0, held_out_bytes = 0;
  nlohmann::json about;  ///< files, sizes, a checksum: what a resumed run must have too
};

/// The texts of Debian's /usr/share/common-licenses, links left out. Throws smx::file_error where there are
/// none.
std::vector<std::string> default_texts(std::string const& folder = "/usr/share/common-licenses");

/// Throws smx::file_error, which names the file, for what is missing, a directory, empty, unreadable or not
/// UTF-8 where it must be.
text_data read_texts(std::vector<std::string> const& files, double held_out, codec const& c);

/// Throws smx::precondition_error unless there are enough tokens for one sequence and its targets.
void expects_sequence(std::vector<std::int32_t> const& tokens, smx::index_t length, char const* which);

}  // namespace smx_examples
