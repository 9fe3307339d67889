// SPDX-License-Identifier: Apache-2.0
#include <examples/vit/contact_sheet.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <string_view>

namespace smx_examples {

namespace {

constexpr std::uint8_t black[3] = {0, 0, 0}, green[3] = {0, 120, 60}, red[3] = {205, 20, 30},
                       grey[3] = {120, 120, 120};

/// Five rows of three pixels each, as five octal digits from the top.
struct glyph {
  char letter;
  char const* rows;
};
constexpr glyph font[] = {{' ', "00000"}, {'0', "75557"}, {'1', "26227"}, {'2', "71747"}, {'3', "71317"},
                          {'4', "55711"}, {'5', "74717"}, {'6', "74757"}, {'7', "71122"}, {'8', "75757"},
                          {'9', "75717"}, {'A', "25755"}, {'B', "65656"}, {'C', "34443"}, {'D', "65556"},
                          {'E', "74647"}, {'F', "74644"}, {'G', "34553"}, {'H', "55755"}, {'I', "72227"},
                          {'J', "11152"}, {'K', "55655"}, {'L', "44447"}, {'M', "57755"}, {'N', "65555"},
                          {'O', "25552"}, {'P', "65644"}, {'Q', "25563"}, {'R', "65655"}, {'S', "34216"},
                          {'T', "72222"}, {'U', "55557"}, {'V', "55552"}, {'W', "55775"}, {'X', "55255"},
                          {'Y', "55222"}, {'Z', "71247"}, {'-', "00700"}, {'_', "00007"}, {'.', "00002"},
                          {',', "00024"}, {':', "02020"}, {'/', "11244"}, {'(', "24442"}, {')', "21112"},
                          {'!', "22202"}, {'+', "02720"}, {'=', "07070"}, {'%', "51245"}, {'?', "71202"}};

char const* rows_of(char c) {
  char const upper = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  for (glyph const& one : font)
    if (one.letter == upper) return one.rows;
  return std::end(font)[-1].rows;
}

void fill(image& on, index_t y, index_t x, index_t height, index_t width, std::uint8_t const (&colour)[3]) {
  for (index_t i = std::max<index_t>(y, 0); i < std::min(y + height, on.height); ++i)
    for (index_t j = std::max<index_t>(x, 0); j < std::min(x + width, on.width); ++j)
      std::copy(colour, colour + 3, on.at(i, j));
}

}  // namespace

void draw_text(image& on, index_t y, index_t x, std::string const& text, index_t scale,
               std::uint8_t const (&colour)[3]) {
  for (char const c : text) {
    char const* const rows = rows_of(c);
    for (int i = 0; i < 5; ++i)
      for (int j = 0; j < 3; ++j)
        if (((rows[i] - '0') >> (2 - j) & 1) != 0)
          fill(on, y + i * scale, x + j * scale, scale, scale, colour);
    x += 4 * scale;
  }
}

image contact_sheet(dataset const& d, std::vector<index_t> const& members,
                    std::vector<prediction> const& predictions, std::vector<std::string> const& classes,
                    index_t most) {
  auto const label = [&](std::size_t n) { return d.labels[static_cast<std::size_t>(members[n])]; };
  auto const wrong = [&](std::size_t n) { return label(n) >= 0 && label(n) != predictions[n].label; };
  std::vector<std::size_t> order(members.size());
  for (std::size_t n = 0; n < order.size(); ++n) order[n] = n;
  auto const mistakes = std::stable_partition(order.begin(), order.end(), wrong) - order.begin();
  auto const shown = std::min(most, static_cast<index_t>(order.size()));

  constexpr index_t text = 2, frame = 3, gap = 5, line = 6 * text;
  index_t const scale = std::max<index_t>(1, 48 / std::max(d.height, d.width));
  index_t const tile_width = std::max<index_t>(scale * d.width, 48) + 2 * frame + gap,
                tile_height = scale * d.height + 2 * frame + gap + 2 * line;
  auto const columns =
      std::max<index_t>(8, static_cast<index_t>(std::ceil(std::sqrt(static_cast<double>(shown * tile_height) /
                                                                    static_cast<double>(tile_width)))));
  index_t const head = line + 2 * gap, rows = (shown + columns - 1) / columns;
  image sheet;
  sheet.channels = 3;
  sheet.height = head + rows * tile_height + gap;
  sheet.width = std::max<index_t>(columns * tile_width + gap, 480);
  sheet.pixels.assign(static_cast<std::size_t>(3 * sheet.height * sheet.width), 255);

  bool const labelled = !order.empty() && label(0) >= 0;
  char title[160];
  if (labelled)
    std::snprintf(title, sizeof title, "%zu images, %td wrong (%.1f %% right)%s", order.size(), mistakes,
                  100 - 100.0 * static_cast<double>(mistakes) / static_cast<double>(order.size()),
                  shown < static_cast<index_t>(order.size()) ? ", not all shown" : "");
  else
    std::snprintf(title, sizeof title, "%zu images, %lld shown", order.size(), static_cast<long long>(shown));
  draw_text(sheet, gap, gap, title, text, black);

  auto const [low, high] = std::minmax_element(d.pixels.begin(), d.pixels.end());
  float const from = *low, factor = *high > *low ? 255 / (*high - *low) : 0;
  for (index_t k = 0; k < shown; ++k) {
    std::size_t const n = order[static_cast<std::size_t>(k)];
    index_t const y = head + k / columns * tile_height, x = gap + k % columns * tile_width;
    auto const& colour = !labelled ? grey : wrong(n) ? red : green;
    fill(sheet, y, x, scale * d.height + 2 * frame, scale * d.width + 2 * frame, colour);
    float const* const pixels = d.image(members[n]);
    for (index_t i = 0; i < d.height; ++i)
      for (index_t j = 0; j < d.width; ++j) {
        std::uint8_t value[3];
        for (index_t c = 0; c < 3; ++c) {
          index_t const plane = d.channels == 3 ? c : 0;
          value[c] = static_cast<std::uint8_t>(
              (pixels[(plane * d.height + i) * d.width + j] - from) * factor + 0.5f);
        }
        fill(sheet, y + frame + i * scale, x + frame + j * scale, scale, scale, value);
      }
    index_t const below = y + scale * d.height + 2 * frame + text;
    auto const letters = static_cast<std::size_t>((tile_width - gap) / (4 * text));
    char chance[16];
    std::snprintf(chance, sizeof chance, " %.0f%%", 100 * predictions[n].probability);
    std::string said = classes[static_cast<std::size_t>(predictions[n].label)].substr(0, letters);
    if (said.size() + std::string_view(chance).size() <= letters) said += chance;
    draw_text(sheet, below, x, said, text, wrong(n) ? red : black);
    if (wrong(n))
      draw_text(sheet, below + line, x,
                ("is " + classes[static_cast<std::size_t>(label(n))]).substr(0, letters), text, red);
  }
  return sheet;
}

}  // namespace smx_examples
