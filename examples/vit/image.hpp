// SPDX-License-Identifier: Apache-2.0
/// \file  Pictures as files: PGM and PPM always, PNG where the program was built with libpng.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <smx/core/extents.hpp>

namespace smx_examples {

/// Rows of pixels from the top, each of one byte (grey) or three (red, green, blue).
struct image {
  smx::index_t channels = 1, height = 0, width = 0;
  std::vector<std::uint8_t> pixels;  // (height,width,channels)

  std::uint8_t* at(smx::index_t y, smx::index_t x) { return pixels.data() + (y * width + x) * channels; }
  std::uint8_t const* at(smx::index_t y, smx::index_t x) const {
    return pixels.data() + (y * width + x) * channels;
  }
};

/// Whether PNG files can be read and written.
bool has_png();

/// Whether a file of this name is taken for a picture: .png, .pgm, .ppm, .pnm in any case.
bool is_image_name(std::string const& path);

/// Reads PNG (any kind; 16 bits become 8, transparent pixels are laid on white) or PGM and PPM (P2, P3, P5,
/// P6; values are scaled to 0 .. 255). The content decides, not the name. Throws smx::file_error for anything
/// else, and for pictures of more than 2^26 pixels.
image read_image(std::string const& path);

/// Writes PNG where the name ends in .png, else PGM or PPM. Throws smx::file_error, with what to do where PNG
/// is not there.
void write_image(std::string const& path, image const& picture);

}  // namespace smx_examples
