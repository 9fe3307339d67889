// SPDX-License-Identifier: Apache-2.0
/// \file  One object of a JSON file, read strictly: what is missing, of another type or not known is a
/// file_error that names the file and the member, as in `tokenizer.json: model.dropout: expected null, got
/// 0.1`.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace smx_examples {

/// The file as JSON. Throws file_error when it is missing, not a file, or not JSON (with the parser's
/// reason).
nlohmann::json read_json(std::string const& file);

class json_fields {
 public:
  /// `object` must outlive this; `path` is its place in the file, "" for the whole.
  json_fields(nlohmann::json const& object, std::string file, std::string path = "");

  /// Whether it is there and not null.
  bool has(std::string const& key);
  nlohmann::json const& at(std::string const& key);
  json_fields object(std::string const& key);
  nlohmann::json const& array(std::string const& key);
  std::string text(std::string const& key);
  /// With a fallback, the member may be missing or null.
  bool flag(std::string const& key, std::optional<bool> fallback = std::nullopt);
  long long integer(std::string const& key, std::optional<long long> fallback = std::nullopt);

  /// It may be anything: it does not matter to the reader.
  void ignore(std::string const& key) { known_.insert(key); }
  /// It must be null, missing or equal to `allowed`: nothing else is supported.
  void expect_unset(std::string const& key, nlohmann::json const& allowed = nullptr);

  /// Throws when a member was not asked for.
  void done() const;

  [[noreturn]] void fail(std::string const& key, std::string const& what) const;
  /// `key: expected <expected>, got <the value>`.
  [[noreturn]] void fail_expected(std::string const& key, std::string const& expected) const;

  std::string const& file() const { return file_; }

 private:
  nlohmann::json const* find(std::string const& key);

  nlohmann::json const& object_;
  std::string file_, path_;
  std::set<std::string> known_;
};

}  // namespace smx_examples
