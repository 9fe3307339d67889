// SPDX-License-Identifier: Apache-2.0
#include <smx/io/npy.hpp>

#include <tests/catch.hpp>
#include <tests/io/temporary_folder.hpp>

using smx::file_error;
using smx::npy_file;

namespace {

/// A file as numpy writes it: `version`, header text (padded by the caller or not), elements.
std::string npy(std::string const& header, std::string const& data, int version = 1) {
  std::string text = "\x93NUMPY";
  text += static_cast<char>(version);
  text += '\0';
  for (int byte = 0; byte < (version == 1 ? 2 : 4); ++byte)
    text += static_cast<char>(header.size() >> (8 * byte) & 0xFF);
  return text + header + data;
}
std::string dictionary(std::string const& descr, std::string const& shape, char const* order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }   \n";
}
template <class T> std::string bytes_of(std::vector<T> const& v) {
  return {reinterpret_cast<char const*>(v.data()), v.size() * sizeof(T)};
}
npy_file open(std::string const& text) { return {std::as_bytes(std::span(text)), "x.npy"}; }
/// What opening it says.
std::string refusal(std::string const& text) {
  try {
    open(text);
  } catch (file_error const& e) { return e.what(); }
  return "accepted";
}

}  // namespace

TEST_CASE("npy: the versions, types and orders that numpy writes are read", "[io]") {
  std::vector<double> const all{1, 2, 3, 4, 5, 6};
  for (int const version : {1, 2, 3}) {
    std::string const text = npy(dictionary("<f8", "(2, 3)"), bytes_of(all), version);
    npy_file const file = open(text);
    CHECK(file.shape() == std::vector<smx::index_t>{2, 3});
    CHECK(file.size() == 6);
    CHECK(file.read<double>() == all);
  }
  auto const numbers = [](std::string const& descr, std::string const& data) {
    std::string const text = npy(dictionary(descr, "(2,)"), data);
    return open(text).read<double>();
  };
  CHECK(numbers("|u1", bytes_of(std::vector<std::uint8_t>{1, 255})) == std::vector<double>{1, 255});
  CHECK(numbers("<i4", bytes_of(std::vector<std::int32_t>{-7, 1 << 30})) == std::vector<double>{-7, 1 << 30});
  CHECK(numbers("<i8", bytes_of(std::vector<std::int64_t>{-1, std::int64_t{1} << 40})) ==
        std::vector<double>{-1, 1099511627776.0});
  CHECK(numbers("<f4", bytes_of(std::vector<float>{0.5f, -2})) == std::vector<double>{0.5, -2});
  CHECK(numbers("<f8", bytes_of(std::vector<double>{0.1, -2})) == std::vector<double>{0.1, -2});

  // (2,3) by columns: 1 2 3 / 4 5 6 in the order 1 4 2 5 3 6
  std::string const columns =
      npy(dictionary("<f8", "(2, 3)", "True"), bytes_of(std::vector<double>{1, 4, 2, 5, 3, 6}));
  CHECK(open(columns).fortran_order());
  CHECK(open(columns).read<double>() == all);
  std::vector<std::int32_t> first(
      24);  // (2,3,4), the first axis runs first: entry (i,j,k) is 100 i + 10 j + k
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 4; ++k) first[static_cast<std::size_t>(i + 2 * j + 6 * k)] = 100 * i + 10 * j + k;
  std::string const cube = npy(dictionary("<i4", "(2, 3, 4)", "True"), bytes_of(first));
  auto const entries = open(cube).read<std::int64_t>();
  REQUIRE(entries.size() == 24);
  CHECK(entries[0] == 0);
  CHECK(entries[1] == 1);
  CHECK(entries[4] == 10);
  CHECK(entries[23] == 123);

  std::string const scalar = npy(dictionary("<f8", "()"), bytes_of(std::vector<double>{2.5}));
  CHECK(open(scalar).read<double>() == std::vector<double>{2.5});
  std::string const empty = npy(dictionary("<f8", "(0, 3)"), "");
  CHECK(open(empty).read<double>().empty());
}

TEST_CASE("npy: what is written is read back, and is what numpy writes", "[io]") {
  test::temporary_folder folder;
  std::vector<float> const f{1, 2, 3, 4, 5, 6};
  smx::write_npy(folder / "f.npy", smx::view<float const, 2, smx::host_space>(f.data(), {3, 2}, {1, 3}));
  npy_file const file(folder / "f.npy");
  CHECK(file.shape() == std::vector<smx::index_t>{3, 2});
  CHECK(file.read<float>() == std::vector<float>{1, 4, 2, 5, 3, 6});
  std::vector<std::int64_t> const i{-1, 7};
  smx::write_npy(folder / "i.npy", smx::view<std::int64_t const, 1, smx::host_space>(i.data(), {2}));
  CHECK(npy_file(folder / "i.npy").read<std::int64_t>() == i);
  CHECK_THROWS_WITH(file.read<std::int64_t>(), test::contains("expected an integer type, got F32"));

  // numpy.save of numpy.array([-1, 7]), byte for byte
  std::string header = "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }";
  header.append(117 - header.size(), ' ');
  CHECK(test::read_file(folder / "i.npy") == npy(header + "\n", bytes_of(i)));
}

TEST_CASE("npy: damaged and foreign files are refused with a reason", "[io]") {
  std::string const data = bytes_of(std::vector<double>{1, 2});
  std::string const good = npy(dictionary("<f8", "(2,)"), data);
  REQUIRE(refusal(good) == "accepted");
  for (std::size_t n = 0; n < good.size(); ++n) {
    INFO("cut to " << n << " bytes");
    CHECK(refusal(good.substr(0, n)).starts_with("x.npy: "));
  }
  CHECK_THAT(refusal(good + "x"), test::contains("expected 16 bytes for F64 of extents (2), got 17"));
  CHECK_THAT(refusal("PK\x03\x04 an npz file"), test::contains("expected a .npy file"));
  CHECK_THAT(refusal(npy(dictionary("<f8", "(2,)"), data, 4)), test::contains("version: expected 1, 2 or 3"));
  CHECK_THAT(refusal(npy(dictionary(">f8", "(2,)"), data)), test::contains("little-endian"));
  CHECK_THAT(refusal(npy(dictionary("<c16", "(1,)"), data)), test::contains("got '<c16'"));
  CHECK_THAT(refusal(npy(dictionary("|O", "(2,)"), data)), test::contains("got '|O'"));
  CHECK_THAT(refusal(npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (2,), }", data)),
             test::contains("got a record"));
  CHECK_THAT(refusal(npy(dictionary("<f8", "(-2,)"), data)), test::contains("not negative"));
  CHECK_THAT(refusal(npy(dictionary("<f8", "(2, 9223372036854775808)"), data)), test::contains("2^63"));
  CHECK_THAT(refusal(npy(dictionary("<f8", "(4294967296, 4294967296)"), data)), test::contains("2^63"));
  CHECK_THAT(refusal(npy("{'descr': '<f8', 'shape': (2,)}", data)), test::contains("'fortran_order'"));
  CHECK_THAT(refusal(npy("{'descr': '<f8', 'descr': '<f8'}", data)), test::contains("repeated key 'descr'"));
  CHECK_THAT(refusal(npy(dictionary("<f8", "(2,)") + "}", data)), test::contains("end of the header"));
  CHECK_THAT(refusal(npy("", data)), test::contains("expected '{'"));
  test::temporary_folder folder;
  test::write_file(folder / "empty.npy", "");
  CHECK_THROWS_WITH(npy_file(folder / "empty.npy"), test::contains("empty.npy: the file is empty"));
  CHECK_THROWS_WITH(npy_file(folder / "none.npy"), test::contains("none.npy: cannot open"));
}
