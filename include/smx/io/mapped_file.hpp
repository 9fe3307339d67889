// SPDX-License-Identifier: Apache-2.0
/// \file  A whole file as read-only memory. O(1) to open: pages are read when they are touched.
///
/// POSIX only. A file that another process truncates while it is mapped ends the program with SIGBUS when the
/// lost part is read: replace files by rename (as safetensors_writer does), never in place.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <smx/io/file_error.hpp>

namespace smx {

/// Owns the mapping; moving keeps the address. Throws file_error when the path is missing, unreadable, empty,
/// or not a regular file (a directory, a pipe).
class mapped_file {
 public:
  explicit mapped_file(std::string const& path) {
    // O_NONBLOCK: opening a pipe without a writer must fail the check below, not wait.
    int const file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) detail::fail_system(path, "cannot open for reading", errno);
    struct ::stat about {};
    if (::fstat(file, &about) != 0) {
      int const code = errno;
      ::close(file);
      detail::fail_system(path, "cannot get the size", code);
    }
    if (!S_ISREG(about.st_mode) || about.st_size <= 0) {
      ::close(file);
      detail::raise<file_error>(path, S_ISDIR(about.st_mode)   ? "expected a file, got a directory"
                                      : S_ISREG(about.st_mode) ? "the file is empty"
                                                               : "expected a regular file");
    }
    size_ = static_cast<std::size_t>(about.st_size);
    void* const at = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
    int const code = errno;
    ::close(file);  // the mapping keeps the file
    if (at == MAP_FAILED) detail::fail_system(path, "cannot map into memory", code);
    data_ = static_cast<std::byte const*>(at);
  }

  mapped_file(mapped_file&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  mapped_file& operator=(mapped_file&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  mapped_file(mapped_file const&) = delete;
  mapped_file& operator=(mapped_file const&) = delete;
  ~mapped_file() {
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  }

  std::span<std::byte const> bytes() const { return {data_, size_}; }

 private:
  std::byte const* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace smx
