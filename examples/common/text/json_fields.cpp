// SPDX-License-Identifier: Apache-2.0
#include "examples/common/text/json_fields.hpp"

#include <utility>

#include <smx/io/file_error.hpp>
#include <smx/io/mapped_file.hpp>

namespace smx_examples {
namespace {

/// At most 60 characters of a value.
std::string shown(nlohmann::json const& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array";
  std::string text = value.dump(-1, ' ', true);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

}  // namespace

nlohmann::json read_json(std::string const& file) {
  smx::mapped_file const mapped(file);
  auto const* const text = reinterpret_cast<char const*>(mapped.bytes().data());
  try {
    return nlohmann::json::parse(text, text + mapped.bytes().size());
  } catch (nlohmann::json::exception const& e) {
    throw smx::file_error(file, std::string("not JSON: ") + e.what());
  }
}

json_fields::json_fields(nlohmann::json const& object, std::string file, std::string path)
    : object_(object), file_(std::move(file)), path_(std::move(path)) {
  if (!object.is_object())
    throw smx::file_error(file_,
                          (path_.empty() ? "" : path_ + ": ") + "expected an object, got " + shown(object));
}

nlohmann::json const* json_fields::find(std::string const& key) {
  known_.insert(key);
  auto const at = object_.find(key);
  return at == object_.end() ? nullptr : &*at;
}

bool json_fields::has(std::string const& key) {
  auto const* const value = find(key);
  return value != nullptr && !value->is_null();
}

nlohmann::json const& json_fields::at(std::string const& key) {
  auto const* const value = find(key);
  if (value == nullptr) fail(key, "missing");
  return *value;
}

json_fields json_fields::object(std::string const& key) {
  return {at(key), file_, path_.empty() ? key : path_ + '.' + key};
}

nlohmann::json const& json_fields::array(std::string const& key) {
  auto const& value = at(key);
  if (!value.is_array()) fail_expected(key, "an array");
  return value;
}

std::string json_fields::text(std::string const& key) {
  auto const& value = at(key);
  if (!value.is_string()) fail_expected(key, "a text");
  return value.get<std::string>();
}

bool json_fields::flag(std::string const& key, std::optional<bool> fallback) {
  if (fallback && !has(key)) return *fallback;
  auto const& value = at(key);
  if (!value.is_boolean()) fail_expected(key, "true or false");
  return value.get<bool>();
}

long long json_fields::integer(std::string const& key, std::optional<long long> fallback) {
  if (fallback && !has(key)) return *fallback;
  auto const& value = at(key);
  // nlohmann reads a number above 2^63 as unsigned, and get<long long>() would wrap
  if (!value.is_number_integer() ||
      (value.is_number_unsigned() && value.get<unsigned long long>() >> 63 != 0))
    fail_expected(key, "an integer");
  return value.get<long long>();
}

void json_fields::expect_unset(std::string const& key, nlohmann::json const& allowed) {
  if (!has(key) || *find(key) == allowed) return;
  fail_expected(key, allowed.is_null() ? "null" : "null or " + shown(allowed));
}

void json_fields::done() const {
  for (auto const& [key, value] : object_.items())
    if (!known_.contains(key)) fail(key, "not supported");
}

void json_fields::fail(std::string const& key, std::string const& what) const {
  throw smx::file_error(file_, (path_.empty() ? key : path_ + '.' + key) + ": " + what);
}

void json_fields::fail_expected(std::string const& key, std::string const& expected) const {
  fail(key, "expected " + expected + ", got " + shown(object_.at(key)));
}

}  // namespace smx_examples
