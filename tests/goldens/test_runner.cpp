// SPDX-License-Identifier: Apache-2.0
/// \file  smx_goldens as a program: exit status and what it prints, for good, broken and foreign files and
/// wrong use.
#include <cstdio>

#include <sys/wait.h>

#include <smx/io/safetensors_writer.hpp>
#include <tests/catch.hpp>
#include <tests/io/temporary_folder.hpp>

namespace {

struct outcome {
  int status;
  std::string text;
  std::string last_line() const { return text.substr(text.rfind('\n', text.size() - 2) + 1); }
};

outcome run(std::string const& arguments) {
  std::FILE* const pipe = ::popen((SMX_GOLDENS " " + arguments + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string text;
  for (int c; (c = std::fgetc(pipe)) != EOF;) text += static_cast<char>(c);
  int const status = ::pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text};
}

std::string const good = TEST_DATA "/goldens/blockdiag_linear_shuffle.safetensors";

/// A file with these metadata and one small tensor for each name.
void write(std::string const& path, std::map<std::string, std::string> const& metadata,
           std::vector<std::string> const& names) {
  smx::safetensors_writer w;
  for (auto const& [key, value] : metadata) w.set_metadata(key, value);
  for (auto const& name : names) w.add(name, 1.0);
  w.write(path);
}

}  // namespace

TEST_CASE("a folder of good files passes", "[goldens]") {
  test::temporary_folder folder;
  std::filesystem::copy(good, folder / "a.safetensors");
  test::write_file(folder / "readme.txt", "not looked at");
  outcome const o = run(folder / "");
  CAPTURE(o.text);
  CHECK(o.status == 0);
  CHECK(o.last_line() == "4 passed, 0 failed, 0 skipped\n");
  CHECK_THAT(o.text, test::contains("block_diagonal blockdiag_linear_shuffle reference f64 "));
  CHECK_THAT(o.text, test::contains("block_diagonal blockdiag_linear_shuffle cpu f32 "));
}

TEST_CASE("a wrong number in a file is found", "[goldens]") {
  test::temporary_folder folder;
  std::string bytes = test::read_file(good);
  bytes[bytes.size() - 2] = static_cast<char>(bytes[bytes.size() - 2] ^ 0x10);
  test::write_file(folder / "a.safetensors", bytes);
  outcome const o = run(folder / "");
  CAPTURE(o.text);
  CHECK(o.status == 1);
  CHECK(o.last_line() == "0 passed, 4 failed, 0 skipped\n");
}

TEST_CASE("families that are not known are skipped by name", "[goldens]") {
  test::temporary_folder folder;
  write(folder / "a.safetensors", {{"family", "alien"}, {"case", "one"}, {"config", "{}"}}, {"out.y"});
  outcome const o = run(folder / "");
  CHECK(o.status == 0);
  CHECK(o.text == "alien one - - - - skipped(unknown family)\n0 passed, 0 failed, 1 skipped\n");
}

TEST_CASE("broken files fail with a reason and do not stop the run", "[goldens]") {
  test::temporary_folder folder;
  std::string const bytes = test::read_file(good);
  test::write_file(folder / "a_cut.safetensors", bytes.substr(0, bytes.size() / 2));
  test::write_file(folder / "b_empty.safetensors", "");
  std::filesystem::create_directory(folder / "c_folder.safetensors");
  write(folder / "d_nameless.safetensors", {}, {"out.y"});
  write(folder / "e_config.safetensors", {{"family", "attention"}, {"case", "c"}, {"config", "{"}},
        {"out.y"});
  std::vector<std::string> const names{"in.x",
                                       "in.u",
                                       "in.k",
                                       "in.q",
                                       "in.v",
                                       "in.r",
                                       "in.M",
                                       "w.weight",
                                       "w.w1_bfly",
                                       "w.w2_bfly",
                                       "out.y",
                                       "grad.in.x",
                                       "out.projected_dense"};
  for (char const* family :
       {"attention", "block_diagonal", "long_convolution", "monarch", "monarch_projection"})
    write(folder / (std::string("f_") + family + ".safetensors"),
          {{"family", family}, {"case", "c"}, {"config", "{}"}}, names);
  outcome const o = run(folder / "");
  CAPTURE(o.text);
  CHECK(o.status == 1);
  CHECK(o.last_line() == "0 passed, 25 failed, 0 skipped\n");
  CHECK_THAT(o.text, test::contains("- a_cut.safetensors - - - - FAILED(") &&
                         test::contains("the file is empty") &&
                         test::contains("expected a file, got a directory") &&
                         test::contains("metadata: 'family' is missing") &&
                         test::contains("metadata 'config': expected a JSON object"));
}

TEST_CASE("wrong use is an error text and status 2", "[goldens]") {
  test::temporary_folder folder;
  auto const fails = [](std::string const& arguments, std::string const& text) {
    outcome const o = run(arguments);
    CAPTURE(arguments, o.text);
    CHECK(o.status == 2);
    CHECK_THAT(o.text, test::contains(text));
  };
  fails("", "expected one folder");
  fails("--fast", "unknown option --fast");
  fails("--fast " + (folder / ""), "unknown option --fast");
  fails("a b", "expected one folder");
  fails(folder / "none", "No such file or directory");
  fails(good, "Not a directory");
  fails(folder / "", "no .safetensors files");
  CHECK(run("--help").status == 0);
}
