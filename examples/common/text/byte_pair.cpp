// SPDX-License-Identifier: Apache-2.0
#include "examples/common/text/byte_pair.hpp"

#include <algorithm>
#include <queue>
#include <utility>

#include <smx/core/check.hpp>

namespace smx_examples {
namespace {

/// The character that a tokenizer.json has for a byte: itself where it can be printed, otherwise one from
/// U+0100 on.
constexpr auto byte_characters = [] {
  std::array<char32_t, 256> out{};
  char32_t next = 0x100;
  for (char32_t b = 0; b < 256; ++b) {
    bool const shows = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
    out[b] = shows ? b : next++;
  }
  return out;
}();

std::string spelled(std::string_view bytes) {
  std::string out;
  for (char const c : bytes) append_utf8(out, byte_characters[static_cast<unsigned char>(c)]);
  return out;
}

/// What spelled() made the token from; the token itself when it has characters that no byte has.
std::string bytes_of(std::string const& token) {
  std::string out;
  for (std::string_view rest = token; !rest.empty();) {
    auto const [c, size] = first_code_point(rest);
    auto const at = std::ranges::find(byte_characters, c);
    if (at == byte_characters.end()) return token;
    out += static_cast<char>(static_cast<unsigned char>(at - byte_characters.begin()));
    rest.remove_prefix(size);
  }
  return out;
}

std::uint64_t pair_key(token_id left, token_id right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint64_t>(right);
}

enum class kind { letter, number, blank, other };

kind kind_of(char32_t c) {
  return is_letter(c)       ? kind::letter
         : is_number(c)     ? kind::number
         : is_whitespace(c) ? kind::blank
                            : kind::other;
}

/// Bytes of the first characters of `text` that are of one kind, and of the last of them.
struct run_of {
  std::size_t bytes = 0, last = 0;
};

run_of leading_run(std::string_view text, kind k) {
  run_of run;
  while (run.bytes < text.size()) {
    auto const [c, bytes] = first_code_point(text.substr(run.bytes));
    if (kind_of(c) != k) break;
    run.bytes += bytes;
    run.last = bytes;
  }
  return run;
}

/// Bytes of the first piece of text that is not empty.
std::size_t first_piece(std::string_view text) {
  for (std::string_view const ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
    if (text.starts_with(ending)) return ending.size();
  std::size_t const blank = text.starts_with(' ') && text.size() > 1 ? 1 : 0;
  std::string_view const rest = text.substr(blank);
  kind const k = kind_of(first_code_point(rest).value);
  if (k != kind::blank) return blank + leading_run(rest, k).bytes;
  // White space: what follows takes the last of it along if that is a blank, and leaves it a piece of its own
  // otherwise.
  run_of const run = leading_run(text, kind::blank);
  return run.bytes < text.size() && run.bytes > run.last ? run.bytes - run.last : run.bytes;
}

}  // namespace

std::vector<std::string_view> split_as_gpt2(std::string_view text) {
  std::vector<std::string_view> pieces;
  while (!text.empty()) {
    pieces.push_back(text.substr(0, first_piece(text)));
    text.remove_prefix(pieces.back().size());
  }
  return pieces;
}

byte_pair_tokenizer byte_pair_tokenizer::from_tokenizer_json(std::string const& file) {
  return from_tokenizer_json(read_json(file), file);
}

byte_pair_tokenizer byte_pair_tokenizer::from_tokenizer_json(nlohmann::json const& json,
                                                             std::string const& file) {
  byte_pair_tokenizer out;
  json_fields root(json, file);
  check_version(root);
  json_fields model = root.object("model");
  out.read_model(model);
  root.expect_unset("normalizer");

  json_fields pieces = root.object("pre_tokenizer");
  if (pieces.text("type") != "ByteLevel") pieces.fail_expected("type", "ByteLevel");
  out.prefix_blank_ = pieces.flag("add_prefix_space");
  out.use_pattern_ = pieces.flag("use_regex", true);
  pieces.ignore("trim_offsets");
  pieces.done();

  if (root.has("decoder")) {
    json_fields decoder = root.object("decoder");
    if (decoder.text("type") != "ByteLevel") decoder.fail_expected("type", "ByteLevel");
    for (char const* const key : {"add_prefix_space", "trim_offsets", "use_regex"}) decoder.ignore(key);
    decoder.done();
  }
  out.added_ = read_added_tokens(root, out.tokens_, nullptr);
  out.frame_ = read_frame(root, out.tokens_);
  root.done();
  out.bytes_.resize(static_cast<std::size_t>(out.tokens_.size()));
  for (token_id id = 0; id < out.tokens_.size(); ++id)
    if (auto const* const token = out.tokens_.find_token(id))
      out.bytes_[static_cast<std::size_t>(id)] =
          out.model_.find_token(id) != nullptr ? bytes_of(*token) : *token;
  return out;
}

void byte_pair_tokenizer::read_model(json_fields& model) {
  if (model.text("type") != "BPE") model.fail_expected("type", "BPE");
  for (char const* const key : {"continuing_subword_prefix", "end_of_word_suffix"})
    model.expect_unset(key, "");
  model.expect_unset("dropout", 0.0);
  model.expect_unset("byte_fallback", false);
  for (char const* const key : {"unk_token", "fuse_unk"}) model.ignore(key);  // every byte is known
  whole_pieces_ = model.flag("ignore_merges", false);
  tokens_ = model_ = read_vocabulary(model);
  for (unsigned b = 0; b < 256; ++b) {
    auto const id = model_.find(spelled(std::string(1, static_cast<char>(static_cast<unsigned char>(b)))));
    if (!id) model.fail("vocab", "expected all 256 bytes, got none for byte " + std::to_string(b));
    byte_ids_[b] = *id;
  }
  read_merges(model);
  model.done();
}

void byte_pair_tokenizer::read_merges(json_fields& model) {
  std::uint32_t rank = 0;
  for (auto const& entry : model.array("merges")) {
    std::string const where = "merges[" + std::to_string(rank) + "]";
    std::string left, right;
    if (entry.is_string()) {
      auto const& text = entry.get_ref<std::string const&>();
      std::size_t const blank = text.find(' ');
      if (blank == std::string::npos || text.find(' ', blank + 1) != std::string::npos)
        model.fail(where, "expected two tokens and a blank between them, got '" + text + "'");
      left = text.substr(0, blank);
      right = text.substr(blank + 1);
    } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      left = entry[0].get<std::string>();
      right = entry[1].get<std::string>();
    } else {
      model.fail(where, "expected two tokens");
    }
    auto const a = tokens_.find(left), b = tokens_.find(right), to = tokens_.find(left + right);
    for (auto const& [id, token] : {std::pair(a, left), std::pair(b, right), std::pair(to, left + right)})
      if (!id) model.fail(where, "'" + token + "' is not in the vocabulary");
    if (!merges_.emplace(pair_key(*a, *b), merge{rank++, *to}).second)
      model.fail(where, "'" + left + "' and '" + right + "' are there twice");
  }
}

std::vector<token_id> byte_pair_tokenizer::encode(std::string_view text, token_id max_tokens,
                                                  special_tokens special) const {
  expects_utf8(text);
  std::size_t const limit = room_for_text(frame_, max_tokens, special);
  std::vector<token_id> ids;
  for (text_part const& raw : added_.split(text, false)) {
    if (raw.token != nullptr) {
      ids.push_back(raw.token->id);
      continue;
    }
    for (text_part const& part : added_.split(raw.text, true)) {
      if (ids.size() >= limit) break;
      if (part.token != nullptr) {
        ids.push_back(part.token->id);
        continue;
      }
      bool const blank = prefix_blank_ && !part.text.starts_with(' ');
      std::string const with_blank = blank ? ' ' + std::string(part.text) : std::string();
      std::string_view rest = blank ? std::string_view(with_blank) : part.text;
      while (!rest.empty() && ids.size() < limit) {
        std::size_t const size = use_pattern_ ? first_piece(rest) : rest.size();
        append_piece(ids, rest.substr(0, size));
        rest.remove_prefix(size);
      }
    }
  }
  return framed(std::move(ids), frame_, max_tokens, special);
}

void byte_pair_tokenizer::append_piece(std::vector<token_id>& out, std::string_view bytes) const {
  if (whole_pieces_) {
    if (auto const id = model_.find(spelled(bytes))) {
      out.push_back(*id);
      return;
    }
  }
  append_merged(out, bytes);
}

void byte_pair_tokenizer::append_merged(std::vector<token_id>& out, std::string_view bytes) const {
  struct symbol {
    token_id id;
    std::size_t previous, next;  // `end` where there is none
  };
  struct candidate {
    std::uint32_t rank;
    std::size_t at;  // the left symbol
    std::uint64_t key;
    // std::priority_queue has the largest on top
    bool operator<(candidate const& o) const { return rank != o.rank ? rank > o.rank : at > o.at; }
  };
  std::size_t const n = bytes.size(), end = n;
  std::vector<symbol> symbols(n);
  for (std::size_t i = 0; i < n; ++i)
    symbols[i] = {byte_ids_[static_cast<unsigned char>(bytes[i])], i == 0 ? end : i - 1, i + 1};

  std::priority_queue<candidate> queue;
  auto const offer = [&](std::size_t at) {
    if (at == end || symbols[at].next == end) return;
    std::uint64_t const key = pair_key(symbols[at].id, symbols[symbols[at].next].id);
    if (auto const found = merges_.find(key); found != merges_.end())
      queue.push({found->second.rank, at, key});
  };
  for (std::size_t i = 0; i < n; ++i) offer(i);
  constexpr token_id gone = -1;
  while (!queue.empty()) {
    candidate const best = queue.top();
    queue.pop();
    symbol& left = symbols[best.at];
    // A neighbour may have been merged since this pair was offered.
    if (left.id == gone || left.next == end || pair_key(left.id, symbols[left.next].id) != best.key) continue;
    symbol& right = symbols[left.next];
    left.id = merges_.at(best.key).to;
    right.id = gone;
    left.next = right.next;
    if (left.next != end) symbols[left.next].previous = best.at;
    offer(left.previous);
    offer(best.at);
  }
  for (symbol const& s : symbols)
    if (s.id != gone) out.push_back(s.id);
}

std::string byte_pair_tokenizer::decode(std::span<token_id const> ids, special_tokens special) const {
  std::string text;
  for (token_id const id : ids) {
    tokens_.token(id);  // throws for an id without a token
    added_token const* const added = added_.find(id);
    if (added != nullptr && added->special && special == special_tokens::without) continue;
    text += bytes_[static_cast<std::size_t>(id)];
  }
  return text;
}

std::vector<token_id> byte_tokenizer::encode(std::string_view text, token_id max_tokens) const {
  text = text.substr(0, room_for_text({}, max_tokens, special_tokens::without));
  std::vector<token_id> ids(text.size());
  std::ranges::transform(text, ids.begin(), [](char c) { return static_cast<unsigned char>(c); });
  return ids;
}

std::string byte_tokenizer::decode(std::span<token_id const> ids) const {
  std::string text;
  for (token_id const id : ids) {
    smx::expects_value(id >= 0 && id < 256, "token id", "a byte", id);
    text += static_cast<char>(static_cast<unsigned char>(id));
  }
  return text;
}

}  // namespace smx_examples
