// SPDX-License-Identifier: Apache-2.0
#include <examples/bert/output.hpp>

#include <cerrno>
#include <cstring>

#include <nlohmann/json.hpp>
#include <smx/io/safetensors_writer.hpp>

namespace smx_examples {

std::string embedding_line(std::string const& text, std::span<smx::index_t const> ids,
                           std::span<float const> embedding) {
  std::string line = "{\"text\": " + nlohmann::json(text).dump() + ", \"ids\": [";
  for (std::size_t i = 0; i < ids.size(); ++i) line += (i == 0 ? "" : ", ") + std::to_string(ids[i]);
  line += "], \"embedding\": [";
  char digits[32];
  for (std::size_t i = 0; i < embedding.size(); ++i) {
    std::snprintf(digits, sizeof digits, "%s%.9g", i == 0 ? "" : ", ", static_cast<double>(embedding[i]));
    line += digits;
  }
  return line + "]}\n";
}

output_file::output_file(std::string const& path) {
  if (!path.empty()) file_ = std::make_unique<smx::detail::replacement_file>(path);
}
output_file::~output_file() = default;

void output_file::write(void const* data, std::size_t size) {
  if (file_)
    file_->write(data, size);
  else if (std::fwrite(data, 1, size, stdout) != size)
    throw smx::file_error("standard output", std::string("cannot be written: ") + std::strerror(errno));
}

void output_file::begin_npy(std::size_t rows, std::size_t columns) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " +
                       std::to_string(columns) + "), }";
  header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 11, ' ');  // the array begins at a multiple of 64
  header += '\n';
  std::string const magic = std::string("\x93NUMPY\x01\0", 8);
  write(magic + static_cast<char>(header.size() & 0xff) + static_cast<char>(header.size() >> 8) + header);
}

void output_file::commit() {
  if (file_)
    file_->commit();
  else if (std::fflush(stdout) != 0)
    throw smx::file_error("standard output", std::string("cannot be written: ") + std::strerror(errno));
}

}  // namespace smx_examples
