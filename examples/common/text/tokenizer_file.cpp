// SPDX-License-Identifier: Apache-2.0
#include "examples/common/text/tokenizer_file.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include <smx/core/check.hpp>

namespace smx_examples {
namespace {

/// The ids that the template's special token `name` stands for.
std::vector<token_id> read_special(json_fields& specials, std::string const& name, vocabulary const& tokens) {
  json_fields special = specials.object(name);
  special.ignore("id");
  auto const& texts = special.array("tokens");
  std::vector<token_id> ids;
  for (auto const& id : special.array("ids")) {
    if (!id.is_number_integer() || ids.size() >= texts.size())
      special.fail_expected("ids", "an id for each token");
    ids.push_back(id.get<token_id>());
    auto const& text = texts[ids.size() - 1];
    if (!text.is_string() || tokens.find(text.get_ref<std::string const&>()) != ids.back())
      special.fail("ids", "expected the ids of its tokens in the vocabulary");
  }
  if (ids.size() != texts.size()) special.fail_expected("ids", "an id for each token");
  special.done();
  return ids;
}

text_frame read_template(json_fields& processor, vocabulary const& tokens) {
  text_frame frame;
  processor.ignore("pair");
  json_fields specials = processor.object("special_tokens");
  bool text_seen = false;
  for (auto const& part : processor.array("single")) {
    if (part.is_object() && part.size() == 1 && part.contains("Sequence")) {
      json_fields sequence(part.at("Sequence"), processor.file(), "post_processor.single.Sequence");
      sequence.ignore("type_id");
      if (std::exchange(text_seen, true) || sequence.text("id") != "A")
        processor.fail("single", "expected the text A exactly once");
      sequence.done();
    } else if (part.is_object() && part.size() == 1 && part.contains("SpecialToken")) {
      json_fields special(part.at("SpecialToken"), processor.file(), "post_processor.single.SpecialToken");
      special.ignore("type_id");
      auto& side = text_seen ? frame.after : frame.before;
      std::ranges::copy(read_special(specials, special.text("id"), tokens), std::back_inserter(side));
      special.done();
    } else {
      processor.fail("single", "expected a list of SpecialToken and Sequence");
    }
  }
  if (!text_seen) processor.fail("single", "expected the text A exactly once");
  return frame;
}

/// ["[SEP]", 102]
token_id read_pair(json_fields& processor, std::string const& key, vocabulary const& tokens) {
  auto const& pair = processor.array(key);
  if (pair.size() != 2 || !pair[0].is_string() || !pair[1].is_number_integer())
    processor.fail(key, "expected a token and its id");
  auto const& token = pair[0].get_ref<std::string const&>();
  if (tokens.find(token) != pair[1].get<token_id>())
    processor.fail(key, "expected the id of '" + token + "' in the vocabulary");
  return pair[1].get<token_id>();
}

}  // namespace

vocabulary read_vocabulary(json_fields& model) {
  auto const& entries = model.at("vocab");
  if (!entries.is_object() || entries.empty()) model.fail("vocab", "expected an object of tokens and ids");
  vocabulary tokens;
  for (auto const& [token, id] : entries.items()) {
    if (!id.is_number_integer()) model.fail("vocab", "expected an integer as the id of '" + token + "'");
    try {
      tokens.add(token, id.get<token_id>());
    } catch (smx::precondition_error const& e) { model.fail("vocab", e.what()); }
  }
  return tokens;
}

added_tokens read_added_tokens(json_fields& root, vocabulary& tokens, bert_normalizer const* normaliser) {
  added_tokens added;
  if (!root.has("added_tokens")) return added;
  std::size_t index = 0;
  for (auto const& entry : root.array("added_tokens")) {
    json_fields fields(entry, root.file(), "added_tokens[" + std::to_string(index++) + "]");
    added_token token{.content = fields.text("content"),
                      .id = fields.integer("id"),
                      .strip_left = fields.flag("lstrip", false),
                      .strip_right = fields.flag("rstrip", false),
                      .normalised = fields.flag("normalized", true),
                      .special = fields.flag("special", false)};
    fields.expect_unset("single_word", false);
    fields.done();
    try {
      if (auto const id = tokens.find(token.content); !id)
        tokens.add(token.content, token.id);
      else if (*id != token.id)
        fields.fail("id", "expected " + std::to_string(*id) + ", the id of '" + token.content +
                              "' in the vocabulary, got " + std::to_string(token.id));
      std::string pattern =
          token.normalised && normaliser != nullptr ? (*normaliser)(token.content) : token.content;
      added.add(std::move(token), std::move(pattern));
    } catch (smx::precondition_error const& e) { fields.fail("content", e.what()); }
  }
  return added;
}

text_frame read_frame(json_fields& root, vocabulary const& tokens) {
  if (!root.has("post_processor")) return {};
  json_fields processor = root.object("post_processor");
  std::string const type = processor.text("type");
  text_frame frame;
  if (type == "TemplateProcessing") {
    frame = read_template(processor, tokens);
  } else if (type == "BertProcessing") {
    frame.before = {read_pair(processor, "cls", tokens)};
    frame.after = {read_pair(processor, "sep", tokens)};
  } else if (type == "ByteLevel") {
    for (char const* const key : {"add_prefix_space", "trim_offsets", "use_regex"}) processor.ignore(key);
  } else {
    processor.fail_expected("type", "TemplateProcessing, BertProcessing or ByteLevel");
  }
  processor.done();
  return frame;
}

void check_version(json_fields& root) {
  if (root.has("version") && root.text("version") != "1.0") root.fail_expected("version", "1.0");
  root.ignore("truncation");
  root.ignore("padding");
}

std::size_t room_for_text(text_frame const& frame, token_id max_tokens, special_tokens special) {
  auto const used =
      special == special_tokens::with ? static_cast<token_id>(frame.before.size() + frame.after.size()) : 0;
  if (max_tokens < used || max_tokens < 1)
    throw smx::precondition_error("max_tokens: expected at least " +
                                  std::to_string(std::max(used, token_id{1})) + ", got " +
                                  std::to_string(max_tokens));
  return static_cast<std::size_t>(max_tokens - used);
}

std::vector<token_id> framed(std::vector<token_id> body, text_frame const& frame, token_id max_tokens,
                             special_tokens special) {
  body.resize(std::min(body.size(), room_for_text(frame, max_tokens, special)));
  if (special == special_tokens::with) {
    body.insert(body.begin(), frame.before.begin(), frame.before.end());
    body.insert(body.end(), frame.after.begin(), frame.after.end());
  }
  return body;
}

}  // namespace smx_examples
