// SPDX-License-Identifier: Apache-2.0
#include <examples/vit/image.hpp>

#include <algorithm>
#include <cctype>
#include <span>
#include <string_view>

#if defined(SMX_EXAMPLES_PNG)
#include <png.h>
#endif

#include <smx/io/mapped_file.hpp>
#include <smx/io/safetensors_writer.hpp>

namespace smx_examples {

using smx::file_error;
using smx::index_t;

namespace {

constexpr index_t most_pixels = index_t{1} << 26;

std::string extension(std::string const& path) {
  std::size_t const dot = path.rfind('.');
  if (dot == path.npos || path.find('/', dot) != path.npos) return "";
  std::string ext = path.substr(dot);
  for (char& c : ext) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return ext;
}

void expect_size(std::string const& path, index_t height, index_t width) {
  if (height < 1 || width < 1 || height > most_pixels / width)
    throw file_error(path, "expected 1 to 67108864 pixels, got " + std::to_string(height) + " rows of " +
                               std::to_string(width));
}

/// The fields of a PGM or PPM header and of plain pixels: numbers with blanks and comments between them.
class pnm_text {
 public:
  pnm_text(std::string_view text, std::string const& path) : text_(text), path_(path) {}
  index_t number(index_t most) {
    skip_blanks();
    std::size_t const first = at_;
    index_t value = 0;
    for (; at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_])) != 0; ++at_)
      value = std::min<index_t>(value * 10 + (text_[at_] - '0'), most + 1);
    if (at_ == first || value > most)
      throw file_error(path_,
                       "byte " + std::to_string(first) + ": expected a number up to " + std::to_string(most));
    return value;
  }
  /// What follows the one blank behind the header.
  std::string_view rest() const { return text_.substr(std::min(at_ + 1, text_.size())); }

 private:
  void skip_blanks() {
    while (at_ < text_.size()) {
      if (text_[at_] == '#')
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      else if (std::isspace(static_cast<unsigned char>(text_[at_])) != 0)
        ++at_;
      else
        return;
    }
  }
  std::string_view text_;
  std::string const& path_;
  std::size_t at_ = 2;
};

image read_pnm(std::string const& path, std::string_view bytes) {
  char const kind = bytes[1];
  pnm_text text(bytes, path);
  image to;
  to.channels = kind == '3' || kind == '6' ? 3 : 1;
  to.width = text.number(most_pixels);
  to.height = text.number(most_pixels);
  expect_size(path, to.height, to.width);
  index_t const top = text.number(65535);
  if (top == 0) throw file_error(path, "expected a largest value of 1 to 65535, got 0");
  auto const count = static_cast<std::size_t>(to.height * to.width * to.channels);
  auto const put = [&](index_t value) {
    to.pixels.push_back(static_cast<std::uint8_t>((std::min(value, top) * 255 + top / 2) / top));
  };
  bool const plain = kind == '2' || kind == '3';
  std::size_t const each = plain ? 2 : top > 255 ? 2 : 1;  // a plain value takes a digit and a blank at least
  if (text.rest().size() + (plain ? 1 : 0) < count * each)
    throw file_error(path, "expected " + std::to_string(count) + " values, the file is too short for them");
  to.pixels.reserve(count);
  if (plain) {
    for (std::size_t n = 0; n < count; ++n) put(text.number(top));
    return to;
  }
  std::string_view const data = text.rest();
  for (std::size_t n = 0; n < count; ++n) {
    index_t const high = static_cast<unsigned char>(data[n * each]);
    put(each == 1 ? high : 256 * high + static_cast<unsigned char>(data[n * each + 1]));
  }
  return to;
}

#if defined(SMX_EXAMPLES_PNG)

/// libpng's simplified interface: it returns errors and never jumps over our frames.
image read_png(std::string const& path, std::span<std::byte const> bytes) {
  ::png_image png{};
  png.version = PNG_IMAGE_VERSION;
  auto const fail = [&] {
    std::string const what = png.message;
    ::png_image_free(&png);
    throw file_error(path, "PNG: " + what);
  };
  if (::png_image_begin_read_from_memory(&png, bytes.data(), bytes.size()) == 0) fail();
  image to;
  to.channels = (png.format & PNG_FORMAT_FLAG_COLOR) != 0 ? 3 : 1;
  to.height = png.height;
  to.width = png.width;
  if (to.height < 1 || to.width < 1 || to.height > most_pixels / to.width) ::png_image_free(&png);
  expect_size(path, to.height, to.width);
  png.format = to.channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  to.pixels.resize(PNG_IMAGE_SIZE(png));
  ::png_color const white{255, 255, 255};
  if (::png_image_finish_read(&png, &white, to.pixels.data(), 0, nullptr) == 0) fail();
  if (PNG_IMAGE_FAILED(png)) fail();
  return to;
}

std::string encode_png(std::string const& path, image const& from) {
  ::png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<::png_uint_32>(from.width);
  png.height = static_cast<::png_uint_32>(from.height);
  png.format = from.channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  ::png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png);
  std::string to(size, '\0');
  if (::png_image_write_to_memory(&png, to.data(), &size, 0, from.pixels.data(), 0, nullptr) == 0)
    throw file_error(path, std::string("PNG: ") + png.message);
  to.resize(size);
  return to;
}

#else

constexpr char no_png[] =
    "PNG needs a program that was built with libpng (Debian: libpng-dev); use PGM or PPM";

image read_png(std::string const& path, std::span<std::byte const>) { throw file_error(path, no_png); }
std::string encode_png(std::string const& path, image const&) { throw file_error(path, no_png); }

#endif

}  // namespace

bool has_png() {
#if defined(SMX_EXAMPLES_PNG)
  return true;
#else
  return false;
#endif
}

bool is_image_name(std::string const& path) {
  std::string const ext = extension(path);
  return ext == ".png" || ext == ".pgm" || ext == ".ppm" || ext == ".pnm";
}

image read_image(std::string const& path) {
  smx::mapped_file const file(path);
  std::string_view const text(reinterpret_cast<char const*>(file.bytes().data()), file.bytes().size());
  if (text.starts_with("\x89PNG\r\n\x1a\n")) return read_png(path, file.bytes());
  if (text.size() >= 3 && text[0] == 'P' && std::string_view("2356").find(text[1]) != text.npos &&
      std::isspace(static_cast<unsigned char>(text[2])) != 0)
    return read_pnm(path, text);
  throw file_error(path, "not an image: expected PNG, PGM or PPM");
}

void write_image(std::string const& path, image const& picture) {
  std::string bytes;
  if (extension(path) == ".png") {
    bytes = encode_png(path, picture);
  } else {
    bytes = (picture.channels == 3 ? "P6\n" : "P5\n") + std::to_string(picture.width) + " " +
            std::to_string(picture.height) + "\n255\n";
    bytes.append(picture.pixels.begin(), picture.pixels.end());
  }
  smx::detail::replacement_file file(path);
  file.write(bytes.data(), bytes.size());
  file.commit();
}

}  // namespace smx_examples
