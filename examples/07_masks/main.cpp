// SPDX-License-Identifier: Apache-2.0
// Draws a composed mask, as kernels see it (tiles that are skipped, run without tests, or tested entry by
// entry), and the mixing matrices of the causal mixers, into one SVG. Checks what it draws: tiles against
// entries, matrices against causality.
#include <smx/smx.hpp>

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include <smx/backend/cpu.hpp>

using smx::index_t;

namespace {

/// Squares in rows and columns, one picture beside the other.
class drawing {
 public:
  static constexpr double side = 288, gap = 32, head = 28;

  void begin(char const* title) {
    left_ = gap + static_cast<double>(count_ % 3) * (side + gap);
    top_ = head + static_cast<double>(count_ / 3) * (side + head + gap);
    ++count_;
    add("<text x=\"%.0f\" y=\"%.0f\">%s</text>\n", left_, top_ - 8, title);
    add("<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"none\" stroke=\"#888\"/>\n", left_,
        top_, side, side);
  }
  /// Entry (row, column) of n x n, `size` entries wide.
  void square(index_t row, index_t column, index_t n, index_t size, char const* color, double opacity) {
    double const unit = side / static_cast<double>(n);
    add("<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"%s\" fill-opacity=\"%.2f\"/>\n",
        left_ + static_cast<double>(column) * unit, top_ + static_cast<double>(row) * unit,
        static_cast<double>(size) * unit, static_cast<double>(size) * unit, color, opacity);
  }
  bool write(char const* path) const {
    std::FILE* const file = std::fopen(path, "w");
    if (file == nullptr) return false;
    double const rows = static_cast<double>((count_ + 2) / 3);
    std::fprintf(
        file,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" font-family=\"sans-serif\" "
        "font-size=\"13\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n%s</svg>\n",
        gap + 3 * (side + gap), rows * (side + head + gap), body_.c_str());
    return std::fclose(file) == 0;
  }

 private:
  template <class... A> void add(char const* format, A... a) {
    char line[256];
    std::snprintf(line, sizeof line, format, a...);
    body_ += line;
  }
  std::string body_;
  double left_ = 0, top_ = 0;
  int count_ = 0;
};

/// Full tiles green, partial ones yellow with their entries in blue, empty ones white. Returns whether tiles
/// and entries agree.
template <smx::Mask M>
bool draw_mask(drawing& to, char const* title, M const& mask, index_t n, index_t tile) {
  to.begin(title);
  bool agree = true;
  for (index_t i = 0; i < n; i += tile)
    for (index_t j = 0; j < n; j += tile) {
      smx::tile_class const what = mask.tile(0, 0, {i, i + tile}, {j, j + tile});
      if (what == smx::tile_class::full) to.square(i, j, n, tile, "#2a9d60", 0.8);
      if (what == smx::tile_class::partial) to.square(i, j, n, tile, "#f2c14e", 0.5);
      for (index_t r = i; r < i + tile; ++r)
        for (index_t c = j; c < j + tile; ++c) {
          bool const seen = mask.allow(0, 0, r, c);
          if (what != smx::tile_class::partial) agree = agree && seen == (what == smx::tile_class::full);
          if (what == smx::tile_class::partial && seen) to.square(r, c, n, 1, "#1d4ed8", 0.8);
        }
    }
  return agree;
}

/// Positive entries blue, negative ones red. Returns whether nothing above the diagonal exceeds `leak` times
/// the largest entry.
bool draw_matrix(drawing& to, char const* title, smx::view<float const, 2, smx::host_space> m,
                 double leak) {  // (L,L)
  to.begin(title);
  index_t const n = m.ext[0];
  double top = 0, above = 0;
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < n; ++j) {
      double const v = std::fabs(static_cast<double>(m(i, j)));
      top = std::fmax(top, v);
      if (j > i) above = std::fmax(above, v);
    }
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j <= i; ++j) {
      double const v = static_cast<double>(m(i, j)) / top;
      to.square(i, j, n, 1, v < 0 ? "#c2410c" : "#1d4ed8", std::sqrt(std::fabs(v)));
    }
  return above <= leak * top;
}

}  // namespace

int main() {
  smx::cpu be;
  drawing picture;
  constexpr index_t length = 96, tile = 12;

  // Costs nothing to build; kernels ask it for ranges, tiles and, in partial tiles, entries.
  std::vector<index_t> const starts{0, 40, 96};
  smx::packed_mask const packed{starts.data(), 2};
  index_t const sinks = 8;
  smx::padding_mask const first_keys{&sinks, 1};
  bool good = draw_mask(picture, "causal", smx::causal_mask{}, length, tile);
  good = draw_mask(picture, "causal: a window of 20 and the first 8 keys",
                   smx::causal_mask{} & (smx::window_mask{20} | first_keys), length, tile) &&
         good;
  good = draw_mask(picture, "packed 40 + 56, in causal blocks of 8", packed & smx::block_causal_mask{8},
                   length, tile) &&
         good;

  constexpr index_t n = 48;
  auto const matrix = [&](auto const& mix) {  // (1,L,L)
    auto w = smx::initialize(be, mix, /*seed*/ 3);
    return smx::materialize(be, mix, w, n);
  };
  auto const draw = [&](char const* title, auto const& m, double leak) {
    good = draw_matrix(picture, title, smx::fix_axis(m.cview(), 0, 0), leak) && good;
  };
  auto const q = smx::random_normal<float>(be, {1, 1, n, 8}, 1),
             k = smx::random_normal<float>(be, {1, 1, n, 8}, 2);
  auto const p = smx::materialize(be, smx::attention<float, smx::causal_mask>{}, q, k);  // (1,1,L,L)
  good = draw_matrix(picture, "softmax attention", smx::fix_axis(smx::fix_axis(p.cview(), 0, 0), 0, 0), 0) &&
         good;
  // A transform lets the future touch the past by rounding errors; the exact evaluation and the others do
  // not.
  draw("long convolution", matrix(smx::long_convolution<float>{.channels = 1, .taps = n}), 1e-5);
  draw("causal Monarch", matrix(smx::causal_monarch<float>{.channels = 1, .length = n, .order = 2}), 1e-4);
  draw("masked Monarch", matrix(smx::masked_monarch<float>{.channels = 1, .length = n}), 0);

  // SSD's matrix depends on its data, but not on x: with x the identity, y is the matrix.
  smx::ssd<float> const mamba{.heads = 1, .skip = smx::skip_kind::none};
  auto w = smx::initialize(be, mamba, 4);
  smx::tensor<float, 4> unit({1, 1, n, n}), dt({1, 1, n, 1});
  for (index_t i = 0; i < n; ++i) unit(0, 0, i, i) = 1, dt(0, 0, i, 0) = i % 16 == 0 ? 6.f : 2.f;
  auto const y = smx::forward(be, mamba, w, unit, dt, k, q);  // (1,1,L,L)
  good = draw_matrix(picture, "SSD", smx::fix_axis(smx::fix_axis(y.cview(), 0, 0), 0, 0), 0) && good;

  if (!picture.write("masks.svg")) {
    std::puts("cannot write masks.svg");
    return 1;
  }
  std::printf("masks.svg: tiles and entries %s, and nothing lies above the diagonal of a causal mixer%s\n",
              good ? "agree" : "DISAGREE", good ? "" : ": not so");
  return good ? 0 : 1;
}
