// SPDX-License-Identifier: Apache-2.0
/// \file  Where embeddings go: JSON lines, or one .npy file of float32.
#pragma once

#include <cstdio>
#include <memory>
#include <span>
#include <string>

#include <smx/core/extents.hpp>

namespace smx::detail {
class replacement_file;
}

namespace smx_examples {

/// {"text": ..., "ids": [...], "embedding": [...]} with nine digits, which is every bit of a float.
std::string embedding_line(std::string const& text, std::span<smx::index_t const> ids,
                           std::span<float const> embedding);

/// An output that is there whole or not at all; standard output where the path is empty. Throws file_error.
class output_file {
 public:
  explicit output_file(std::string const& path);
  ~output_file();
  void write(void const* data, std::size_t size);
  void write(std::string const& text) { write(text.data(), text.size()); }
  /// The header of a .npy file with an array (rows,columns) of float32, which follows.
  void begin_npy(std::size_t rows, std::size_t columns);
  void commit();

 private:
  std::unique_ptr<smx::detail::replacement_file> file_;
};

}  // namespace smx_examples
