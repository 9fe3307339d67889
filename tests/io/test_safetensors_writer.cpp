// SPDX-License-Identifier: Apache-2.0
#include <smx/io/safetensors_writer.hpp>

#include <limits>

#include <sys/stat.h>

#include <smx/io/safetensors.hpp>
#include <tests/catch.hpp>
#include <tests/io/file_size_limit.hpp>
#include <tests/io/temporary_folder.hpp>

using smx::file_error;
using smx::host_space;
using smx::safetensors_file;
using smx::safetensors_writer;

namespace {

template <class T> smx::view<T const, 1, host_space> as_view(std::vector<T> const& v) {
  return {v.data(), {static_cast<smx::index_t>(v.size())}};
}

}  // namespace

TEST_CASE("what is written is read back bit for bit", "[io]") {
  test::temporary_folder folder;
  std::vector<double> const d{0.1, -0.0, std::numeric_limits<double>::infinity(), 5e-324};
  std::vector<float> const f{1, 2, 3, 4, 5, 6};
  std::vector<smx::bf16> const b{smx::bf16(1.5f), smx::bf16(-3e38f)};
  std::vector<smx::f16> const h{smx::f16(0.333f)};
  std::vector<std::int64_t> const i{-1, std::int64_t{1} << 62};
  std::vector<std::uint8_t> const u{0, 255, 1};

  safetensors_writer writer;
  writer.add("z.u", as_view(u));
  writer.add("d", as_view(d));
  writer.add("f", smx::view<float const, 2, host_space>(f.data(), {2, 3}));
  writer.add("f transposed", smx::view<float const, 2, host_space>(f.data(), {3, 2}, {1, 3}));
  writer.add("b", as_view(b));
  writer.add("h", as_view(h));
  writer.add("i", as_view(i));
  writer.add("empty", smx::view<float const, 2, host_space>(nullptr, {0, 4}));
  writer.add("scalar", 2.5);
  writer.add("quote\" \\ \n \xC3\xA9", std::uint8_t{9});
  writer.set_metadata("key \"1\"", "a\tb\x01 \xF0\x9F\x98\x80");
  writer.set_metadata("key2", "x");
  writer.set_metadata("key2", "y");
  writer.write(folder / "x");

  safetensors_file const file(folder / "x");
  auto const same_bytes = [&](char const* name, auto const& values) {
    auto const bytes = std::as_bytes(std::span(values));
    return std::ranges::equal(file.at(name).bytes, bytes);
  };
  CHECK(file.names() == std::vector<std::string>{"b", "d", "empty", "f", "f transposed", "h", "i",
                                                 "quote\" \\ \n \xC3\xA9", "scalar", "z.u"});
  CHECK(file.metadata() ==
        std::map<std::string, std::string>{{"key \"1\"", "a\tb\x01 \xF0\x9F\x98\x80"}, {"key2", "y"}});
  CHECK(same_bytes("d", d));
  CHECK(same_bytes("f", f));
  CHECK(same_bytes("b", b));
  CHECK(same_bytes("h", h));
  CHECK(same_bytes("i", i));
  CHECK(same_bytes("z.u", u));
  CHECK(file.read<float>("f transposed") == std::vector<float>{1, 4, 2, 5, 3, 6});
  CHECK(file.at("f transposed").shape == std::vector<smx::index_t>{3, 2});
  CHECK(file.at("empty").shape == std::vector<smx::index_t>{0, 4});
  CHECK(file.at("scalar").shape.empty());
  CHECK(file.read<double>("scalar") == std::vector<double>{2.5});
  CHECK(folder.count() == 1);
}

TEST_CASE("the layout is aligned, sorted and reproducible", "[io]") {
  test::temporary_folder folder;
  std::vector<std::uint8_t> const odd{1, 2, 3};
  std::vector<double> const d{1, 2};
  for (int order = 0; order < 2; ++order) {
    safetensors_writer writer;
    if (order == 0) writer.add("a", as_view(odd));
    writer.add("b", as_view(d));
    if (order == 1) writer.add("a", as_view(odd));
    writer.write(folder / std::to_string(order));
  }
  std::string const text = test::read_file(folder / "0");
  CHECK(text == test::read_file(folder / "1"));
  std::uint64_t length = 0;
  std::memcpy(&length, text.data(), sizeof length);
  CHECK(length % 8 == 0);
  CHECK(text.substr(8, 67) == R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[16,19]},"b":{"dtype")");
  safetensors_file const file(folder / "0");
  CHECK(reinterpret_cast<std::uintptr_t>(file.at("b").bytes.data()) % 8 == 0);
}

TEST_CASE("names and texts that the format does not allow are refused", "[io]") {
  safetensors_writer writer;
  writer.add("a", 1.0);
  CHECK_THROWS_WITH(writer.add("a", 2.0), test::contains("name: 'a' was added before"));
  CHECK_THROWS_WITH(writer.add("__metadata__", 1.0), test::contains("'__metadata__' is reserved"));
  CHECK_THROWS_AS(writer.add("\xFF", 1.0), smx::precondition_error);
  CHECK_THROWS_AS(writer.set_metadata("\xFF", ""), smx::precondition_error);
  CHECK_THROWS_AS(writer.set_metadata("", "\xFF"), smx::precondition_error);
  smx::view<float const, 2, host_space> const negative(nullptr, {-1, 4});
  CHECK_THROWS_WITH(writer.add("b", negative), test::contains("got -1"));
  smx::index_t const big = smx::index_t{1} << 32;
  smx::view<float const, 2, host_space> const huge(nullptr, {big, big}, {0, 0});
  CHECK_THROWS_WITH(writer.add("b", huge), test::contains("fewer than 2^63 bytes"));
}

TEST_CASE("a write that fails leaves the old file and nothing else", "[io]") {
  test::temporary_folder folder;
  std::string const path = folder / "x";
  safetensors_writer writer;
  std::vector<double> const d(10'000, 1.0);
  writer.add("d", as_view(d));
  test::write_file(path, "old");
  SECTION("the disk is full") {
    for (::rlim_t limit : {0u, 1u, 100u, 79'999u}) {
      test::file_size_limit const full(limit);
      CHECK_THROWS_AS(writer.write(path), file_error);
      CHECK_THROWS_WITH(writer.write(path), test::contains(path + ": cannot write: File too large"));
    }
    CHECK(test::read_file(path) == "old");
    CHECK(folder.count() == 1);
    writer.write(path);
    CHECK(safetensors_file(path).read<double>("d") == d);
  }
  SECTION("the target is a directory") {
    std::filesystem::create_directory(folder / "d");
    CHECK_THROWS_WITH(writer.write(folder / "d"), test::contains("it is a directory"));
    CHECK(folder.count() == 2);
  }
  SECTION("the folder is missing") {
    CHECK_THROWS_WITH(writer.write(folder / "none/x"),
                      test::contains("none/x: cannot create a file beside it: No such file"));
  }
  SECTION("the target is a device") {
    CHECK_THROWS_WITH(writer.write("/dev/full"), test::contains("not a regular file"));
  }
}

TEST_CASE("replacing keeps the mode, follows links, and old mappings stay whole", "[io]") {
  test::temporary_folder folder;
  std::string const path = folder / "x", link = folder / "link";
  safetensors_writer one, two;
  one.add("a", 1.0);
  two.add("a", 2.0);
  one.write(path);
  REQUIRE(::chmod(path.c_str(), 0640) == 0);
  std::filesystem::create_symlink("x", link);
  safetensors_file const old(path);
  two.write(link);
  CHECK(std::filesystem::is_symlink(link));
  CHECK(old.read<double>("a") == std::vector<double>{1});
  CHECK(safetensors_file(path).read<double>("a") == std::vector<double>{2});
  struct ::stat about {};
  REQUIRE(::stat(path.c_str(), &about) == 0);
  CHECK((about.st_mode & 0777u) == 0640u);
}

TEST_CASE("a file that a crashed process left beside the target is no obstacle", "[io]") {
  test::temporary_folder folder;
  test::write_file(folder / ("x.part-" + std::to_string(::getpid()) + "-0"), "left over");
  safetensors_writer writer;
  writer.add("a", 1.0);
  writer.write(folder / "x");
  CHECK(folder.count() == 2);
  CHECK(safetensors_file(folder / "x").contains("a"));
}
