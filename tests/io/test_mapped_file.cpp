// SPDX-License-Identifier: Apache-2.0
#include <smx/io/mapped_file.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <tests/catch.hpp>
#include <tests/io/temporary_folder.hpp>

using smx::mapped_file;

TEST_CASE("a mapped file shows the bytes of the file", "[io]") {
  test::temporary_folder folder;
  std::string const path = folder / "a", text = "some bytes\0and more";
  test::write_file(path, text);
  mapped_file file(path);
  CHECK(std::string(reinterpret_cast<char const*>(file.bytes().data()), file.bytes().size()) == text);

  auto const* const address = file.bytes().data();
  mapped_file moved(std::move(file));
  CHECK(moved.bytes().data() == address);
  mapped_file other(path);
  other = std::move(moved);
  CHECK(other.bytes().data() == address);
}

TEST_CASE("a mapped file outlives its name", "[io]") {
  test::temporary_folder folder;
  std::string const path = folder / "a";
  test::write_file(path, "xyz");
  mapped_file file(path);
  std::filesystem::remove(path);
  CHECK(static_cast<char>(file.bytes()[2]) == 'z');
}

TEST_CASE("a file that cannot be mapped is an error that names the path", "[io]") {
  test::temporary_folder folder;
  std::string const path = folder / "a";
  auto const open = [&] { mapped_file file(path); };
  auto const fails_with = [&](std::string const& what) {
    CHECK_THROWS_AS(open(), smx::file_error);
    CHECK_THROWS_WITH(open(), test::contains(path + ": ") && test::contains(what));
  };
  SECTION("missing") { fails_with("No such file"); }
  SECTION("directory") {
    std::filesystem::create_directory(path);
    fails_with("expected a file, got a directory");
  }
  SECTION("empty") {
    test::write_file(path, "");
    fails_with("the file is empty");
  }
  SECTION("a pipe does not hang") {
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    fails_with("expected a regular file");
  }
  SECTION("unreadable") {
    test::write_file(path, "x");
    REQUIRE(::chmod(path.c_str(), 0) == 0);
    if (::geteuid() != 0)
      fails_with("Permission denied");
    else
      CHECK_NOTHROW(open());  // the superuser reads everything
  }
}
