// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <string>

#include <examples/gpt/text_data.hpp>
#include <smx/io/file_error.hpp>
#include <tests/catch.hpp>
#include <tests/io/temporary_folder.hpp>

using smx_examples::codec;
using smx_examples::read_texts;

TEST_CASE("the end of each file is held out", "[text]") {
  test::temporary_folder folder;
  test::write_file(folder / "a", "0123456789");
  test::write_file(folder / "b", "abcdefghijklmnopqrst");
  auto const data = read_texts({folder / "a", folder / "b"}, 0.2, codec());
  std::string const train(data.train.begin(), data.train.end()),
      held(data.held_out.begin(), data.held_out.end());
  CHECK(train == "01234567abcdefghijklmnop");
  CHECK(held == "89qrst");
  CHECK(data.train_bytes == 24);
  CHECK(data.held_out_bytes == 6);
  auto const again = read_texts({folder / "a", folder / "b"}, 0.2, codec());
  CHECK(again.about == data.about);
  test::write_file(folder / "b", "abcdefghijklmnopqrsT");
  CHECK(read_texts({folder / "a", folder / "b"}, 0.2, codec()).about != data.about);
}

TEST_CASE("bytes take anything; byte pairs take UTF-8", "[text]") {
  test::temporary_folder folder;
  std::string const path = folder / "text";
  test::write_file(path, std::string("\xff\xfe\0\x80 a", 6));
  auto const data = read_texts({path}, 0, codec());
  CHECK(data.train == std::vector<std::int32_t>{255, 254, 0, 128, 32, 97});
  codec const pairs(TEST_DATA "/tokenizers/byte_pair.json");
  CHECK_THROWS_WITH(read_texts({path}, 0, pairs), test::contains(path + ": is not UTF-8"));

  std::string const text = "Grüße, the cat sat on the mat.";
  test::write_file(path, text);
  // No cut through a character: each byte as a place to cut at.
  for (int percent = 0; percent < 100; percent += 3) {
    auto const split = read_texts({path}, percent * 0.01, pairs);
    std::string back;
    for (auto const id : split.train) back += pairs.decode(id);
    CHECK(back.size() == split.train_bytes);
    for (auto const id : split.held_out) back += pairs.decode(id);
    CHECK(back == text);
  }
}

TEST_CASE("texts that cannot be read are named", "[text]") {
  test::temporary_folder folder;
  auto const error = [&](std::string const& name) {
    try {
      read_texts({name}, 0.1, codec());
    } catch (smx::file_error const& e) { return std::string(e.what()); }
    return std::string("none");
  };
  CHECK_THAT(error(folder / "none"), test::contains("none: cannot open for reading: No such file"));
  CHECK_THAT(error(folder / "."), test::contains("is a directory"));
  test::write_file(folder / "empty", "");
  CHECK_THAT(error(folder / "empty"), test::contains("empty: is empty"));
  CHECK_THROWS_WITH(read_texts({folder / "empty"}, 1, codec()), test::contains("held-out"));
  CHECK_THROWS_WITH(smx_examples::default_texts(folder / "none"), test::contains("give --text FILE"));
}

TEST_CASE("a text shorter than one sequence", "[text]") {
  smx_examples::expects_sequence({1, 2, 3, 4, 5}, 4, "to train on");
  CHECK_THROWS_WITH(smx_examples::expects_sequence({1, 2, 3, 4}, 4, "to train on"),
                    test::contains("expected at least 5 tokens to train on"));
}

TEST_CASE("the default texts are files, not links", "[text]") {
  test::temporary_folder folder;
  test::write_file(folder / "GPL-3", "text");
  test::write_file(folder / "BSD", "text");
  std::filesystem::create_symlink("GPL-3", folder / "GPL");
  auto const files = smx_examples::default_texts(folder / "");
  REQUIRE(files.size() == 2);
  CHECK_THAT(files[0], test::contains("BSD"));
  CHECK_THAT(files[1], test::contains("GPL-3"));
}
