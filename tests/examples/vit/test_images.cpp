// SPDX-License-Identifier: Apache-2.0
#include <examples/vit/image.hpp>

#include <examples/vit/contact_sheet.hpp>
#include <examples/vit/dataset.hpp>
#include <examples/vit/options.hpp>
#include <smx/io/file_error.hpp>
#include <tests/catch.hpp>
#include <tests/io/temporary_folder.hpp>

using namespace smx_examples;

namespace {

image checks(index_t channels) {
  image one{channels, 3, 5, {}};
  for (index_t n = 0; n < 15 * channels; ++n) one.pixels.push_back(static_cast<std::uint8_t>(37 * n % 256));
  return one;
}

}  // namespace

TEST_CASE("pictures are written and read back", "[vit]") {
  test::temporary_folder folder;
  std::vector<std::string> names{"x.pgm", "x.PPM"};
  if (has_png()) names.push_back("x.png");
  for (index_t const channels : {1, 3})
    for (std::string const& name : names) {
      INFO(name << " of " << channels);
      image const one = checks(channels);
      write_image(folder / name, one);
      image const back = read_image(folder / name);
      CHECK(back.channels == channels);
      CHECK(back.height == 3);
      CHECK(back.width == 5);
      CHECK(back.pixels == one.pixels);
    }
  test::write_file(folder / "plain.pgm", "P2 # a comment\n3 1\n15\n0 7 15\n");
  CHECK(read_image(folder / "plain.pgm").pixels == std::vector<std::uint8_t>{0, 119, 255});
  test::write_file(folder / "deep.pgm", std::string("P5 2 1 65535\n\xFF\xFF\x00\x00", 17));
  CHECK(read_image(folder / "deep.pgm").pixels == std::vector<std::uint8_t>{255, 0});
}

TEST_CASE("what is no picture is refused with a reason", "[vit]") {
  test::temporary_folder folder;
  auto const refuses = [&](std::string const& bytes, char const* why) {
    test::write_file(folder / "x", bytes);
    CHECK_THROWS_WITH(read_image(folder / "x"), test::contains(why));
  };
  refuses("", "the file is empty");
  refuses("P7\n1 1", "not an image: expected PNG, PGM or PPM");
  refuses("P5 0 4 255\n", "expected 1 to 67108864 pixels");
  refuses("P5 100000 100000 255\n", "expected 1 to 67108864 pixels");
  refuses("P5 99999999999999999999 1 255\n", "expected a number up to");
  refuses("P5 2 2 0\n    ", "largest value");
  refuses("P5 2 2 255\nabc", "too short");
  refuses("P2 2 1 3\n1 4", "expected a number up to 3");
  refuses("P6 -1 1 255\n", "expected a number");
  CHECK_THROWS_WITH(read_image(folder / "none"), test::contains("none: cannot open"));
  if (!has_png()) return;
  write_image(folder / "x.png", checks(3));
  std::string const png = test::read_file(folder / "x.png");
  // The last 12 bytes say that it ends; libpng does without them where all pixels are there.
  for (std::size_t n = 8; n < png.size() - 12; n += 7) {
    INFO("cut to " << n << " bytes");
    test::write_file(folder / "x", png.substr(0, n));
    CHECK_THROWS_AS(read_image(folder / "x"), smx::file_error);
  }
}

TEST_CASE("grey and coloured pictures of one folder become coloured", "[vit]") {
  test::temporary_folder folder;
  std::filesystem::create_directories(folder / "data/cat");
  std::filesystem::create_directories(folder / "data/ape");
  write_image(folder / "data/cat/1.pgm", checks(1));
  write_image(folder / "data/ape/1.ppm", checks(3));
  test::write_file(folder / "data/.hidden", "");
  dataset const d = read_image_folders(folder / "data");
  CHECK(d.classes == std::vector<std::string>{"ape", "cat"});
  CHECK(d.labels == std::vector<index_t>{0, 1});
  CHECK(d.channels == 3);
  CHECK(d.image(0)[15] == 37);  // green of the first pixel
  CHECK(d.image(1)[1] == 37);   // grey: the second pixel, the same in every plane
  CHECK(d.image(1)[16] == 37);
  CHECK(read_image_folders(folder / "data", {"cat", "dog", "ape"}).labels == std::vector<index_t>{2, 0});
  CHECK_THROWS_WITH(read_image_folders(folder / "data", {"cat", "dog"}),
                    test::contains("ape: expected one of the model's classes (cat, dog)"));
  test::write_file(folder / "data/file.txt", "x");
  CHECK_THROWS_WITH(read_image_folders(folder / "data"), test::contains("file.txt: expected a folder"));
}

TEST_CASE("the split is a function of the seed and takes a share of each class", "[vit]") {
  dataset d;
  for (index_t n = 0; n < 50; ++n) d.labels.push_back(n % 2 == 0 ? 0 : 1);
  auto const [train, held_out] = split(d, 0.2, 1);
  CHECK(train.size() == 40);
  REQUIRE(held_out.size() == 10);
  index_t ones = 0;
  for (index_t const n : held_out) {
    ones += d.labels[static_cast<std::size_t>(n)];
    CHECK(std::find(train.begin(), train.end(), n) == train.end());
  }
  CHECK(ones == 5);
  CHECK(split(d, 0.2, 1).second == held_out);
  CHECK(split(d, 0.2, 2).second != held_out);
}

TEST_CASE("batches are functions of the step, and see every image once in an epoch", "[vit]") {
  dataset d;
  d.height = d.width = 2;
  for (index_t n = 0; n < 12; ++n) {
    d.labels.push_back(n);
    d.pixels.insert(d.pixels.end(), 4, static_cast<float>(n));
  }
  std::vector<index_t> members{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  image_batches one(d, members, {}, 4, 1, 5), other(d, members, {}, 4, 1, 5);
  float x[16], y[16];
  index_t labels[4], again[4];
  std::vector<index_t> seen;
  for (index_t step = 0; step < 3; ++step) {
    one.fill(step, x, labels);
    seen.insert(seen.end(), labels, labels + 4);
    for (int b = 0; b < 4; ++b) CHECK(x[4 * b] == static_cast<float>(labels[b]));
  }
  other.fill(7, y, again);  // another epoch in between
  other.fill(2, y, again);
  CHECK(std::equal(labels, labels + 4, again));
  std::sort(seen.begin(), seen.end());
  CHECK(seen == members);
  CHECK_THROWS_WITH(image_batches(d, members, {}, 13, 0, 1), test::contains("--batch"));
  CHECK_THROWS_WITH(image_batches(d, members, {}, 4, 2, 1), test::contains("--shift"));
}

TEST_CASE("a contact sheet shows mistakes first, in red", "[vit]") {
  dataset d;
  d.height = d.width = 8;
  d.pixels.assign(3 * 64, 0);
  d.pixels[2 * 64] = 1;
  d.labels = {0, 1, 1};
  std::vector<index_t> const members{0, 1, 2};
  std::vector<prediction> const said{{0, 0.9, 0}, {1, 0.8, 0}, {0, 0.7, 0}};
  image const sheet = contact_sheet(d, members, said, {"a", "b"}, 100);
  auto const count = [&](std::uint8_t r, std::uint8_t g, std::uint8_t b) {
    index_t n = 0;
    for (index_t y = 0; y < sheet.height; ++y)
      for (index_t x = 0; x < sheet.width; ++x) {
        std::uint8_t const* const at = sheet.at(y, x);
        n += at[0] == r && at[1] == g && at[2] == b ? 1 : 0;
      }
    return n;
  };
  index_t const frame = 54 * 54 - 48 * 48;
  CHECK(count(0, 120, 60) == 2 * frame);  // two are right
  CHECK(count(205, 20, 30) > frame);      // a frame and what is written below
  // The first tile is the third image, whose first pixel is white.
  index_t top = 0;
  while (sheet.at(top, 5)[1] != 20 || sheet.at(top, 5)[0] != 205) ++top;
  CHECK(sheet.at(top + 3, 8)[1] == 255);
  CHECK(contact_sheet(d, members, said, {"a", "b"}, 1).height <= sheet.height);
}
