// SPDX-License-Identifier: Apache-2.0
#include <limits>

#include <smx/io/safetensors_writer.hpp>
#include <tests/catch.hpp>
#include <tests/goldens/comparison.hpp>
#include <tests/io/temporary_folder.hpp>

using goldens::comparison;
using goldens::golden;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

template <class T> void add(smx::safetensors_writer& w, std::string const& name, std::vector<T> const& v) {
  w.add(name, smx::view<T const, 1, smx::host_space>(v.data(), {static_cast<smx::index_t>(v.size())}));
}

golden write(test::temporary_folder const& folder, smx::safetensors_writer& w) {
  w.set_metadata("family", "f");
  w.set_metadata("case", "c");
  w.set_metadata("config", R"({"n": 3, "x": null, "flag": true})");
  w.write(folder / "g.safetensors");
  return golden(folder / "g.safetensors");
}

}  // namespace

TEST_CASE("errors are relative to the largest expected value of the tensor", "[goldens]") {
  test::temporary_folder folder;
  smx::safetensors_writer w;
  add<double>(w, "out.y", {1, -4, 2});
  add<double>(w, "out.zero", {0, 1e-17});
  add<double>(w, "out.lse", {-infinity, 2});
  golden const g = write(folder, w);
  auto const error = [&](char const* name, std::vector<double> const& values) {
    comparison c(g, false);
    c.check(name, values);
    return c.error();
  };
  CHECK(error("out.y", {1, -4, 2}) == 0);
  CHECK(error("out.y", {1.5, -4, 2}) == 0.125);
  CHECK(error("out.y", {1, -4, not_a_number}) == infinity);
  CHECK(error("out.y", {1, infinity, 2}) == infinity);
  CHECK(error("out.zero", {1e-16, 0}) == 1e-16);
  CHECK(error("out.lse", {-infinity, 1}) == 0.5);
  CHECK(error("out.lse", {-1e300, 2}) == infinity);
  CHECK(error("out.lse", {infinity, 2}) == infinity);
  CHECK_THROWS_WITH(error("out.y", {1, 2}), test::contains("tensor 'out.y': expected 2 elements, got 3"));
}

TEST_CASE("the tolerance follows from the kind of tensor, how it is stored and the precision of the run",
          "[goldens]") {
  test::temporary_folder folder;
  smx::safetensors_writer w;
  add<double>(w, "out.y", {1});
  add<double>(w, "grad.in.x", {1});
  add<float>(w, "out.s", {1});
  add<float>(w, "grad.s", {1});
  golden const g = write(folder, w);
  auto const tolerance = [&](char const* name, bool single) {
    comparison c(g, single);
    c.check(name, std::vector<double>{1});
    return c.tolerance();
  };
  CHECK(tolerance("out.y", false) == 1e-12);
  CHECK(tolerance("grad.in.x", false) == 1e-11);
  CHECK(tolerance("out.s", false) == 2e-7);
  CHECK(tolerance("grad.s", false) == 2e-7);
  CHECK(tolerance("out.s", true) == 1e-5);
  CHECK(tolerance("out.y", true) == 1e-5);
  CHECK(tolerance("grad.in.x", true) == 1e-4);
}

TEST_CASE("a comparison reports the tensor that uses most of its tolerance and misses none", "[goldens]") {
  test::temporary_folder folder;
  smx::safetensors_writer w;
  add<double>(w, "in.x", {1});
  add<double>(w, "mid.x", {1});
  add<double>(w, "out.y", {1});
  add<double>(w, "out.other", {1});
  add<double>(w, "grad.in.x", {1});
  golden const g = write(folder, w);
  comparison c(g, false);
  CHECK_THROWS_WITH(c.expect_complete(), test::contains("was not compared"));
  c.check("grad.in.x", std::vector<double>{1 + 5e-12});  // half of its tolerance
  c.check("out.y", std::vector<double>{1 + 9e-13});      // nine tenths
  CHECK(c.worst() == "out.y");
  CHECK(c.passed());
  CHECK_THROWS_WITH(c.expect_complete(), test::contains("'out.other' was not compared"));
  c.leave_out("out.other");
  CHECK_NOTHROW(c.expect_complete());
  c.check("out.y", std::vector<double>{1 + 2e-12});
  CHECK_FALSE(c.passed());
  c.check("grad.in.x", std::vector<double>{1});
  CHECK_FALSE(c.passed());

  c.check("grad.w", std::vector<double>{1});  // not in the file
  CHECK_NOTHROW(c.expect_complete());

  comparison none(g, false);
  for (char const* name : {"out.y", "out.other", "grad.in.x"}) none.leave_out(name);
  CHECK_THROWS_WITH(none.expect_complete(), test::contains("nothing to compare"));
}

TEST_CASE("options of the config are checked", "[goldens]") {
  test::temporary_folder folder;
  smx::safetensors_writer w;
  add<double>(w, "out.y", {1, 2});
  golden const g = write(folder, w);
  CHECK(g.size_option("n") == 3);
  CHECK_THROWS_WITH(g.size_option("x"), test::contains("config: 'x': expected an integer of at least 1"));
  CHECK_THROWS_WITH(g.size_option("flag"), test::contains("config: 'flag'"));
  CHECK(g.option("flag", false));
  CHECK(g.option("x", 2.5) == 2.5);
  CHECK(g.option("none", 2.5) == 2.5);
  CHECK(g.option("n", 2.5) == 3);
  CHECK_THROWS_WITH(g.option("flag", 2.5), test::contains("config: 'flag': wrong type"));
  CHECK_THROWS_WITH(g.extents_of<2>("out.y"), test::contains("expected rank 2, got extents (2)"));
}
