// SPDX-License-Identifier: Apache-2.0
#include <examples/common/training/training_page.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string_view>

#include <smx/io/safetensors_writer.hpp>

#include <training_page_template.hpp>

namespace smx_examples {

namespace {

constexpr std::size_t most_points = 1000, most_rows = 200;

struct point {
  double x, y;
};

struct curve {
  std::string name, css;
  std::vector<point> points;
};

std::string escaped(std::string const& text) {
  std::string out;
  for (char const c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

std::string print(double x, char const* pattern = "%.4g") {
  if (!std::isfinite(x)) return "not finite";
  char text[32];
  std::snprintf(text, sizeof text, pattern, x);
  return text;
}

/// At most `most` of n indices, evenly, the first and the last among them.
std::vector<std::size_t> some_of(std::size_t n, std::size_t most) {
  std::vector<std::size_t> chosen;
  std::size_t const count = std::min(n, most);
  for (std::size_t i = 0; i < count; ++i) chosen.push_back(count == 1 ? n - 1 : i * (n - 1) / (count - 1));
  return chosen;
}

struct axis {
  double low = 0, high = 1, step = 0.5;
};

/// Ends and ticks at 1, 2 or 5 times a power of ten, about `ticks` of them.
axis axis_for(double low, double high, int ticks) {
  if (low > high) return {};
  if (low == high) {
    double const room = low == 0 ? 1 : std::abs(low) * 0.1;
    low -= room, high += room;
  }
  double const rough = (high - low) / ticks, power = std::pow(10, std::floor(std::log10(rough)));
  double const digit = rough / power, step = power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
  return {std::floor(low / step) * step, std::ceil(high / step) * step, step};
}

std::string chart(std::string const& title, std::string const& unit, std::vector<curve> const& curves) {
  constexpr double width = 560, height = 300, left = 64, right = 12, top = 12, bottom = 44;
  double x0 = HUGE_VAL, x1 = -HUGE_VAL, y0 = HUGE_VAL, y1 = -HUGE_VAL;
  std::size_t missing = 0;
  for (auto const& c : curves)
    for (auto const& p : c.points) {
      x0 = std::min(x0, p.x), x1 = std::max(x1, p.x);
      if (std::isfinite(p.y))
        y0 = std::min(y0, p.y), y1 = std::max(y1, p.y);
      else
        ++missing;
    }
  axis const ax = axis_for(x0, x1, 6), ay = axis_for(y0, y1, 5);
  auto const at_x = [&](double x) {
    return left + (x - ax.low) / (ax.high - ax.low) * (width - left - right);
  };
  auto const at_y = [&](double y) {
    return height - bottom - (y - ay.low) / (ay.high - ay.low) * (height - top - bottom);
  };
  auto const n = [](double v) { return print(v, "%.1f"); };

  std::string out = "<figure>\n<figcaption>" + escaped(title);
  if (curves.size() > 1)
    for (auto const& c : curves)
      out += "<span class=\"key\" style=\"background: var(--" +
             std::string(c.css.empty() ? "first" : "second") + ")\"></span>" + escaped(c.name);
  out += "</figcaption>\n<svg viewBox=\"0 0 " + n(width) + ' ' + n(height) + "\" role=\"img\" aria-label=\"" +
         escaped(title) + " over steps\">\n";
  for (int i = 0; ay.low + i * ay.step <= ay.high + ay.step / 2; ++i) {
    double const v = ay.low + i * ay.step, y = at_y(v);
    out += "<line class=\"grid\" x1=\"" + n(left) + "\" x2=\"" + n(width - right) + "\" y1=\"" + n(y) +
           "\" y2=\"" + n(y) + "\"/><text x=\"" + n(left - 6) + "\" y=\"" + n(y + 4) +
           "\" text-anchor=\"end\">" + print(std::abs(v) < ay.step * 1e-9 ? 0 : v) + "</text>\n";
  }
  for (int i = 0; ax.low + i * ax.step <= ax.high + ax.step / 2; ++i) {
    double const v = ax.low + i * ax.step, x = at_x(v);
    out += "<line class=\"axis\" x1=\"" + n(x) + "\" x2=\"" + n(x) + "\" y1=\"" + n(height - bottom) +
           "\" y2=\"" + n(height - bottom + 4) + "\"/><text x=\"" + n(x) + "\" y=\"" +
           n(height - bottom + 17) + "\" text-anchor=\"middle\">" + print(v, "%.6g") + "</text>\n";
  }
  out += "<line class=\"axis\" x1=\"" + n(left) + "\" x2=\"" + n(width - right) + "\" y1=\"" +
         n(height - bottom) + "\" y2=\"" + n(height - bottom) + "\"/>\n<text x=\"" +
         n((left + width - right) / 2) + "\" y=\"" + n(height - 6) +
         "\" text-anchor=\"middle\">step</text>\n<text transform=\"translate(12 " +
         n((top + height - bottom) / 2) + ") rotate(-90)\" text-anchor=\"middle\">" + escaped(unit) +
         "</text>\n";
  for (auto const& c : curves) {
    std::string const css = c.css.empty() ? "" : " " + c.css;
    std::string run;
    std::size_t in_run = 0;
    point last{};
    auto const finish = [&] {  // a gap ends a run
      if (in_run > 1) out += "<polyline class=\"curve" + css + "\" points=\"" + run + "\"/>\n";
      if (in_run == 1)
        out += "<circle class=\"dot" + css + "\" cx=\"" + n(at_x(last.x)) + "\" cy=\"" + n(at_y(last.y)) +
               "\" r=\"2.5\"/>\n";
      run.clear();
      in_run = 0;
    };
    for (std::size_t const i : some_of(c.points.size(), most_points)) {
      point const& p = c.points[i];
      if (!std::isfinite(p.y)) {
        finish();
        continue;
      }
      run += (in_run++ > 0 ? " " : "") + n(at_x(p.x)) + ',' + n(at_y(p.y));
      last = p;
    }
    finish();
  }
  out += "</svg>\n";
  if (missing > 0) out += "<p class=\"note\">" + std::to_string(missing) + " values are not finite.</p>\n";
  return out + "</figure>\n";
}

curve curve_of(std::vector<log_record> const& records, double log_record::*member) {
  curve c{"training", "", {}};
  for (auto const& r : records) c.points.push_back({static_cast<double>(r.step), r.*member});
  return c;
}

/// The template with its slots `{{name}}` filled; what fills them is not looked into.
std::string filled(std::string_view page, std::map<std::string_view, std::string> const& slots) {
  std::string out;
  for (std::size_t at = 0;;) {
    std::size_t const open = page.find("{{", at), close = page.find("}}", open);
    out += page.substr(at, open - at);
    if (close == std::string_view::npos) return out;
    out += slots.at(page.substr(open + 2, close - open - 2));
    at = close + 2;
  }
}

}  // namespace

std::string training_page(page_content const& content) {
  auto const& records = content.records;
  std::vector<curve> loss{curve_of(records, &log_record::loss)};
  curve held_out{"held out", "held-out", {}};
  for (auto const& r : records)
    if (r.held_out) held_out.points.push_back({static_cast<double>(r.step), *r.held_out});
  if (!held_out.points.empty()) loss.push_back(std::move(held_out));

  std::string facts, rows, note;
  for (auto const& [name, value] : content.facts)
    facts += "<tr><th>" + escaped(name) + "</th><td>" + escaped(value) + "</td></tr>\n";
  for (std::size_t const i : some_of(records.size(), most_rows)) {
    log_record const& r = records[i];
    std::string const cells[] = {std::to_string(r.step),
                                 print(r.loss, "%.5f"),
                                 r.held_out ? print(*r.held_out, "%.5f") : std::string(),
                                 print(r.rate),
                                 print(r.gradient_norm),
                                 print(r.tokens_per_second, "%.0f"),
                                 print(r.seconds, "%.1f")};
    rows += "<tr>";
    for (auto const& cell : cells) rows += "<td>" + cell + "</td>";
    rows += "</tr>\n";
  }
  if (records.empty())
    note = "<p class=\"note\">No step was recorded.</p>\n";
  else if (records.size() > most_rows)
    note = "<p class=\"note\">" + std::to_string(most_rows) + " of " + std::to_string(records.size()) +
           " records; curves show at most " + std::to_string(most_points) + " points. The log has all.</p>\n";

  std::string charts;
  if (!records.empty())
    charts =
        chart("Loss", "nats a token", loss) +
        chart("Gradient norm, before clipping", "norm", {curve_of(records, &log_record::gradient_norm)}) +
        chart("Learning rate", "rate", {curve_of(records, &log_record::rate)}) +
        chart("Speed", "tokens a second", {curve_of(records, &log_record::tokens_per_second)});
  return filled(training_page_template, {{"title", escaped(content.title)},
                                         {"facts", facts},
                                         {"charts", charts},
                                         {"note", note},
                                         {"rows", rows}});
}

void write_training_page(std::string const& path, page_content const& content) {
  std::string const page = training_page(content);
  smx::detail::replacement_file file(path);
  file.write(page.data(), page.size());
  file.commit();
}

}  // namespace smx_examples
