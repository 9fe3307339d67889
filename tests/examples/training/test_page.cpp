// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>
#include <regex>

#include <examples/common/training/training_page.hpp>
#include <smx/io/file_error.hpp>
#include <tests/catch.hpp>
#include <tests/io/temporary_folder.hpp>

using smx_examples::log_record;
using smx_examples::page_content;
using smx_examples::training_page;

namespace {

page_content content(int records) {
  page_content c{"gpt <m2>", {{"mixer", "m2 & {{rows}}"}, {"parameters", "1000"}}, {}};
  for (int n = 1; n <= records; ++n) {
    double const x = n;
    c.records.push_back({10 * n, 6 * std::exp(-x / 40) + 1, 1e-3 / x, 0.3 + 1 / x, 8000, 2 * x, {}});
    if (n % 5 == 0) c.records.back().held_out = 6 * std::exp(-x / 50) + 1;
  }
  return c;
}

std::size_t count(std::string const& text, std::string const& part) {
  std::size_t n = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++n;
  return n;
}

/// Throws unless every element that is opened is closed, in order.
void expect_balanced(std::string const& html) {
  std::vector<std::string> open;
  std::regex const tag("<(/?)([a-z0-9]+)([^>]*)>");
  for (std::sregex_iterator it(html.begin(), html.end(), tag), end; it != end; ++it) {
    std::string const name = (*it)[2], rest = (*it)[3];
    if (name == "meta" || rest.ends_with("/")) continue;
    if ((*it)[1].length() == 0) {
      open.push_back(name);
    } else {
      REQUIRE(!open.empty());
      CHECK(open.back() == name);
      open.pop_back();
    }
  }
  CHECK(open.empty());
}

}  // namespace

TEST_CASE("page: curves with labelled axes, a table, nothing from outside", "[training]") {
  std::string const page = training_page(content(150));
  expect_balanced(page);
  CHECK(count(page, "<svg") == 4);
  CHECK(count(page, "<polyline") == 5);  // the loss has two
  CHECK(count(page, ">step</text>") == 4);
  for (char const* unit : {">nats a token</text>", ">norm</text>", ">rate</text>", ">tokens a second</text>"})
    CHECK(count(page, unit) == 1);
  CHECK(count(page, "<tr><td>") == 150);
  CHECK(page.find(
            "<tr><td>1500</td><td>1.14111</td><td>1.29872</td><td>6.667e-06</td><td>0.3067</td><td>8000</td>"
            "<td>300.0</td></tr>") != std::string::npos);
  CHECK(page.find("prefers-color-scheme: dark") != std::string::npos);
  for (char const* outside : {"http", "<script", "<link", "<img", "@import", "url("})
    CHECK(count(page, outside) == 0);
}

TEST_CASE("page: text is shown as it is, never as markup or as a slot", "[training]") {
  std::string const page = training_page(content(3));
  CHECK(count(page, "gpt &lt;m2&gt;") == 2);
  CHECK(count(page, "gpt <m2>") == 0);
  CHECK(count(page, "<td>m2 &amp; {{rows}}</td>") == 1);
}

TEST_CASE("page: long logs are thinned, and it says so", "[training]") {
  auto const long_log = content(5001);
  std::string const page = training_page(long_log);
  CHECK(count(page, "<tr><td>") == 200);
  CHECK(page.find("200 of 5001 records; curves show at most 1000 points") != std::string::npos);
  CHECK(count(page, "<tr><td>10</td>") == 1);
  CHECK(count(page, "<tr><td>50010</td>") == 1);
  CHECK(page.size() < 150'000);
  CHECK(count(training_page(content(200)), "class=\"note\"") == 0);
}

TEST_CASE("page: no record, one record, values that are no numbers", "[training]") {
  std::string const none = training_page(content(0));
  expect_balanced(none);
  CHECK(none.find("No step was recorded.") != std::string::npos);
  std::string const one = training_page(content(1));
  expect_balanced(one);
  CHECK(count(one, "<circle") == 4);
  auto broken = content(9);
  broken.records[4].loss = std::numeric_limits<double>::quiet_NaN();
  broken.records[8].loss = HUGE_VAL;
  for (auto& r : broken.records) r.gradient_norm = std::numeric_limits<double>::quiet_NaN();
  std::string const page = training_page(broken);
  expect_balanced(page);
  CHECK(page.find("2 values are not finite.") != std::string::npos);
  CHECK(page.find("9 values are not finite.") != std::string::npos);
  CHECK(count(page, "<td>not finite</td>") == 11);
  CHECK(std::regex_search(page, std::regex("points=\"[^\"]*(nan|inf)")) == false);
}

TEST_CASE("page: it is written whole or not at all", "[training]") {
  test::temporary_folder folder;
  smx_examples::write_training_page(folder / "run.html", content(20));
  CHECK(test::read_file(folder / "run.html") == training_page(content(20)));
  CHECK(folder.count() == 1);
  CHECK_THROWS_WITH(smx_examples::write_training_page(folder / "no/run.html", content(1)),
                    test::contains("No such file or directory"));
}
