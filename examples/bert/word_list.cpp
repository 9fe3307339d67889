// SPDX-License-Identifier: Apache-2.0
#include <examples/bert/word_list.hpp>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include <examples/common/text/unicode.hpp>
#include <smx/core/check.hpp>

namespace smx_examples {

std::vector<std::string> make_word_list(std::vector<std::string> const& texts, smx::index_t size) {
  std::map<std::string, std::size_t> words;
  std::set<std::string> characters;
  for (std::string const& raw : texts) {
    std::string const text = bert_normalizer{}(raw);
    std::string word;
    auto const end_word = [&] {
      if (!word.empty()) ++words[std::exchange(word, {})];
    };
    for (std::size_t at = 0; at < text.size();) {
      auto const [c, bytes] = first_code_point(std::string_view(text).substr(at));
      std::string const character = text.substr(at, bytes);
      at += bytes;
      bool const alone = is_bert_punctuation(c);
      if (is_whitespace(c) || alone) end_word();
      if (is_whitespace(c)) continue;
      characters.insert(character);
      if (alone)
        ++words[character];
      else
        word += character;
    }
    end_word();
  }
  std::vector<std::string> list{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  for (std::string const& c : characters) list.push_back(c), list.push_back("##" + c);
  smx::expects_value(static_cast<smx::index_t>(list.size()) <= size, "vocabulary size",
                     "room for the characters of the text; tokens that it takes",
                     static_cast<smx::index_t>(list.size()));
  std::vector<std::pair<std::string, std::size_t>> order;
  for (auto const& [word, count] : words)
    if (!characters.contains(word)) order.emplace_back(word, count);
  std::stable_sort(order.begin(), order.end(),
                   [](auto const& a, auto const& b) { return a.second > b.second; });
  for (auto const& [word, count] : order) {
    if (static_cast<smx::index_t>(list.size()) >= size) break;
    list.push_back(word);
  }
  return list;
}

}  // namespace smx_examples
