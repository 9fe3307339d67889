// SPDX-License-Identifier: Apache-2.0
/// \file  same_tokens TOKENIZER RECORDS [MAX_TOKENS] [--may-be-missing]: every text of the records (a JSON
/// object a line, with "text", "ids" and perhaps "decoded") has exactly these ids and decodes to that, byte
/// pairs to the text itself.
///
/// Exit status: 0; 1 when one differs; 77 when the tokenizer is missing and may be. Prints the first ten that
/// differ.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>

#include "examples/common/text/tokenizer.hpp"

using namespace smx_examples;

namespace {

int compare(tokenizer const& mine, char const* records, token_id max_tokens) {
  std::ifstream in(records);
  int texts = 0, different = 0;
  for (std::string line; std::getline(in, line); ++texts) {
    auto const record = nlohmann::json::parse(line);
    auto const& text = record.at("text").get_ref<std::string const&>();
    auto const ids = mine.encode(text, max_tokens);
    std::string const decoded = mine.decode(ids);
    bool same = ids == record.at("ids").get<std::vector<token_id>>();
    if (record.contains("decoded"))
      same = same && decoded == record.at("decoded").get<std::string>();
    else if (std::string_view(mine.kind()) == "byte pairs" && max_tokens == tokenizer::no_limit)
      same = same && decoded == text;
    if (same || ++different > 10) continue;
    std::printf("%s\n  expected %s\n  got      %s\n  decoded  %s\n",
                record.at("text").dump(-1, ' ', true).c_str(), record.at("ids").dump().c_str(),
                nlohmann::json(ids).dump().c_str(), decoded.c_str());
  }
  std::printf("%d texts, %d differ\n", texts, different);
  return texts > 0 && different == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 3)
      throw std::invalid_argument("usage: same_tokens TOKENIZER RECORDS [MAX_TOKENS] [--may-be-missing]");
    bool const may_be_missing = std::string(argv[argc - 1]) == "--may-be-missing";
    if (may_be_missing && !std::filesystem::exists(argv[1])) {
      std::printf("skipped: %s is missing; scripts/fetch_minilm.sh could not get the package\n", argv[1]);
      return 77;
    }
    token_id const max_tokens = argc - may_be_missing > 3 ? std::atoll(argv[3]) : tokenizer::no_limit;
    return compare(tokenizer::load(argv[1]), argv[2], max_tokens);
  } catch (std::exception const& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 1;
  }
}
