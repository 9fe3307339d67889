// SPDX-License-Identifier: Apache-2.0
/// \file  A folder of its own for a test case, removed at its end.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace test {

class temporary_folder {
 public:
  explicit temporary_folder(std::filesystem::path const& place = std::filesystem::temp_directory_path()) {
    std::string name = (place / "smx-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  temporary_folder(temporary_folder const&) = delete;
  temporary_folder& operator=(temporary_folder const&) = delete;
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::string operator/(std::string const& name) const { return (path_ / name).string(); }

  /// Number of directory entries.
  std::size_t count() const {
    auto const n =
        std::distance(std::filesystem::directory_iterator(path_), std::filesystem::directory_iterator());
    return static_cast<std::size_t>(n);
  }

 private:
  std::filesystem::path path_;
};

inline void write_file(std::string const& path, std::string_view text) {
  std::ofstream(path, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}

inline std::string read_file(std::string const& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace test
