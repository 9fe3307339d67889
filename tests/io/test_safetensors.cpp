// SPDX-License-Identifier: Apache-2.0
#include <smx/io/safetensors.hpp>

#include <limits>

#include <tests/catch.hpp>
#include <tests/io/temporary_folder.hpp>

using smx::file_error;
using smx::safetensors_file;

namespace {

template <class T> std::string bytes_of(std::vector<T> const& values) {
  return {reinterpret_cast<char const*>(values.data()), values.size() * sizeof(T)};
}

/// A file of this header and these data bytes.
std::string image(std::string const& header, std::string const& data) {
  return bytes_of(std::vector<std::uint64_t>{header.size()}) + header + data;
}

safetensors_file parse(std::string const& bytes) {
  return safetensors_file(std::as_bytes(std::span(bytes.data(), bytes.size())), "FILE");
}

void fails_with(std::string const& bytes, std::string const& what) {
  CAPTURE(what);
  CHECK_THROWS_AS(parse(bytes), file_error);
  CHECK_THROWS_WITH(parse(bytes), test::contains("FILE: ") && test::contains(what));
}

/// Data of `count` zero bytes behind one tensor "a" with these three fields.
std::string one_tensor(std::string const& dtype, std::string const& shape, std::string const& offsets,
                       std::size_t count) {
  return image(R"({"a":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}",
               std::string(count, '\0'));
}

}  // namespace

TEST_CASE("a safetensors file gives names, metadata, shapes and bytes", "[io]") {
  std::string const header =
      R"({"b": {"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}, "__metadata__":{"k":"v\n\u00e9"},)"
      R"("a/\ud83d\ude00":{"shape":[],"data_offsets":[24,25],"dtype":"U8"}}   )";
  std::vector<float> const values{1, 2, 3, 4, 5, 6};
  std::string const text = image(header, bytes_of(values) + "\x07");

  test::temporary_folder folder;
  test::write_file(folder / "x", text);
  safetensors_file const file(folder / "x");
  CHECK(file.path() == folder / "x");
  CHECK(file.names() == std::vector<std::string>{"a/\xF0\x9F\x98\x80", "b"});
  CHECK(file.metadata() == std::map<std::string, std::string>{{"k", "v\n\xC3\xA9"}});
  CHECK(file.contains("b"));
  CHECK_FALSE(file.contains("c"));
  CHECK(file.find("c") == nullptr);
  CHECK(file.at("b").dtype == smx::stored_dtype::f32);
  CHECK(file.at("b").shape == std::vector<smx::index_t>{2, 3});
  CHECK(file.at("b").size() == 6);
  CHECK(file.at("b").bytes.size() == 24);
  CHECK(file.read<float>("b") == values);
  CHECK(file.read<double>("a/\xF0\x9F\x98\x80") == std::vector<double>{7});

  std::vector<double> transposed(6);
  file.read("b", smx::view<double, 2, smx::host_space>(transposed.data(), {2, 3}, {1, 2}));
  CHECK(transposed == std::vector<double>{1, 4, 2, 5, 3, 6});
}

TEST_CASE("reading a tensor of another name, shape or type says what was expected", "[io]") {
  std::string const bytes = one_tensor("\"F32\"", "[2,3]", "[0,24]", 24);
  safetensors_file const file = parse(bytes);
  CHECK_THROWS_WITH(file.at("b"), "FILE: tensor 'b': no such tensor");
  CHECK_THROWS_WITH(file.read<float>("b"), test::contains("no such tensor"));
  std::vector<float> out(6);
  smx::view<float, 2, smx::host_space> const turned(out.data(), {3, 2});
  CHECK_THROWS_WITH(file.read("a", turned), "FILE: tensor 'a': expected extents (3, 2), got (2, 3)");
  smx::view<float, 1, smx::host_space> const flat(out.data(), {6});
  CHECK_THROWS_WITH(file.read("a", flat), test::contains("expected extents (6), got (2, 3)"));
  std::vector<smx::index_t> const shape{2, 4};
  CHECK_THROWS_WITH(file.read<float>("a", shape), test::contains("expected extents (2, 4), got (2, 3)"));
  CHECK_THROWS_WITH(file.read<std::int64_t>("a"), test::contains("expected an integer type, got F32"));
  std::string const complex_bytes = one_tensor("\"C64\"", "[1]", "[0,8]", 8);
  CHECK_THROWS_WITH(parse(complex_bytes).read<float>("a"), test::contains("expected a real type, got C64"));
}

TEST_CASE("every element type converts to float, double and, where it is one, to an integer", "[io]") {
  auto const file_of = [](char const* dtype, auto const& values) {
    std::string const data = bytes_of(values);
    return image(std::string(R"({"a":{"dtype":")") + dtype + R"(","shape":[)" +
                     std::to_string(values.size()) + R"(],"data_offsets":[0,)" + std::to_string(data.size()) +
                     "]}}",
                 data);
  };
  auto const check = [&](char const* dtype, auto const& values, std::vector<double> const& expected,
                         bool integer) {
    CAPTURE(dtype);
    std::string const bytes = file_of(dtype, values);
    safetensors_file const file = parse(bytes);
    CHECK(file.read<double>("a") == expected);
    CHECK(file.read<float>("a") == std::vector<float>(expected.begin(), expected.end()));
    if (integer)
      CHECK(file.read<std::int64_t>("a") == std::vector<std::int64_t>(expected.begin(), expected.end()));
    else
      CHECK_THROWS_AS(file.read<std::int64_t>("a"), file_error);
  };
  check("F64", std::vector<double>{0.1, -2}, {0.1, -2}, false);
  check("F32", std::vector<float>{0.5f, -3.25f}, {0.5, -3.25}, false);
  check("BF16", std::vector<std::uint16_t>{0x3F80, 0xC048}, {1, -3.125}, false);
  check("F16", std::vector<std::uint16_t>{0x3C00, 0xC200, 0x0001}, {1, -3, 0x1p-24}, false);
  check("I64", std::vector<std::int64_t>{-5, 1 << 20}, {-5, 1 << 20}, true);
  check("I32", std::vector<std::int32_t>{-5, 70000}, {-5, 70000}, true);
  check("I16", std::vector<std::int16_t>{-5, 300}, {-5, 300}, true);
  check("I8", std::vector<std::int8_t>{-5, 100}, {-5, 100}, true);
  check("U8", std::vector<std::uint8_t>{5, 200}, {5, 200}, true);
  check("U16", std::vector<std::uint16_t>{5, 65535}, {5, 65535}, true);
  check("U32", std::vector<std::uint32_t>{5, 1u << 31}, {5, 2147483648.0}, true);
  check("U64", std::vector<std::uint64_t>{5, std::uint64_t{1} << 63}, {5, 0x1p63}, false);
  check("BOOL", std::vector<std::uint8_t>{0, 1}, {0, 1}, true);
}

TEST_CASE("tensors at odd addresses are read", "[io]") {
  std::string const header = R"({"p":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                             R"("x":{"dtype":"F64","shape":[2],"data_offsets":[1,17]}})";
  std::string const bytes = image(header, "!" + bytes_of(std::vector<double>{1.5, -2.5}));
  CHECK(parse(bytes).read<double>("x") == std::vector<double>{1.5, -2.5});
}

TEST_CASE("tensors without elements, scalars and files without tensors are fine", "[io]") {
  std::string const none = image("{}", ""), no_metadata = image(R"({ "__metadata__" : { } })", "");
  CHECK(parse(none).names().empty());
  CHECK(parse(no_metadata).metadata().empty());
  std::string const header = R"({"e":{"dtype":"F64","shape":[3,0,2],"data_offsets":[4,4]},)"
                             R"("f":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},)"
                             R"("s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})";
  std::string const bytes = image(header, std::string(4, '\0'));
  safetensors_file const file = parse(bytes);
  CHECK(file.read<double>("e").empty());
  CHECK(file.at("e").size() == 0);
  CHECK(file.read<double>("s") == std::vector<double>{0});
  file.read("e", smx::view<float, 3, smx::host_space>(nullptr, {3, 0, 2}));
}

TEST_CASE("a file cut at any byte is refused", "[io]") {
  std::string const header =
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"k":"\u00e9é"}})";
  std::string const bytes = image(header, std::string(8, 'x'));
  CHECK_NOTHROW(parse(bytes));
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    CAPTURE(n);
    std::string const cut = bytes.substr(0, n);
    CHECK_THROWS_AS(parse(cut), file_error);
    // The same cut inside the header, with a length that agrees: the text itself is incomplete.
    if (n >= 8 && n < 8 + header.size())
      CHECK_THROWS_AS(parse(image(header.substr(0, n - 8), std::string(8, 'x'))), file_error);
  }
  fails_with(bytes + "y", "expected 8 bytes after the header, got 9");
  test::temporary_folder folder;
  test::write_file(folder / "x", bytes.substr(0, 40));
  CHECK_THROWS_WITH(safetensors_file(folder / "x"),
                    test::contains(folder / "x") && test::contains("header length"));
}

TEST_CASE("any changed byte is refused or read, never more", "[io]") {
  std::string const header =
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[1,1],)"
      R"("data_offsets":[8,9]}})";
  std::string const bytes = image(header, std::string(9, 'x'));
  int accepted = 0;
  for (std::size_t n = 0; n < bytes.size(); ++n)
    for (int value = 0; value < 256; ++value) {
      std::string changed = bytes;
      changed[n] = static_cast<char>(value);
      try {
        safetensors_file const file = parse(changed);
        for (auto const& name : file.names()) CHECK_NOTHROW(file.read<double>(name));
        ++accepted;
      } catch (file_error const&) {}
    }
  CHECK(accepted > 0);
}

TEST_CASE("the header length is checked before it is used", "[io]") {
  fails_with("", "expected at least 8 bytes, got 0");
  fails_with("1234567", "expected at least 8 bytes, got 7");
  fails_with(bytes_of(std::vector<std::uint64_t>{~std::uint64_t{0}}) + "{}",
             "header length: expected at most 2 bytes");
  fails_with(bytes_of(std::vector<std::uint64_t>{3}) + "{}",
             "header length: expected at most 2 bytes, got 3");
  fails_with(image("", ""), "does not begin with '{'");
  fails_with(image(" {}", ""), "does not begin with '{'");
  std::string huge = bytes_of(std::vector<std::uint64_t>{safetensors_file::largest_header + 1});
  huge.resize(8 + safetensors_file::largest_header + 1, ' ');
  fails_with(huge, "header length: expected at most 100000000 bytes");
}

TEST_CASE("shapes and offsets that do not fit are refused", "[io]") {
  fails_with(one_tensor("\"F32\"", "[2]", "[0,4]", 8), "expected 8 bytes for F32 of extents (2), got 4");
  fails_with(one_tensor("\"F32\"", "[2]", "[0,16]", 8),
             "data_offsets: expected two ascending numbers up to 8");
  fails_with(one_tensor("\"F32\"", "[2]", "[8,0]", 8), "ascending");
  fails_with(one_tensor("\"F32\"", "[2]", "[0]", 8), "two ascending");
  fails_with(one_tensor("\"F32\"", "[2]", "[0,4,8]", 8), "two ascending");
  fails_with(one_tensor("\"F32\"", "[2]", "[]", 8), "two ascending");
  fails_with(one_tensor("\"F32\"", "[-2]", "[0,8]", 8), "expected a non-negative integer, got '-'");
  fails_with(one_tensor("\"F32\"", "[2.0]", "[0,8]", 8), "fraction");
  fails_with(one_tensor("\"F32\"", "[2e0]", "[0,8]", 8), "fraction");
  fails_with(one_tensor("\"F32\"", "[02]", "[0,8]", 8), "leading zero");
  fails_with(one_tensor("\"F32\"", "[9223372036854775808]", "[0,8]", 8), "2^63");
  fails_with(one_tensor("\"F32\"", "[99999999999999999999999999]", "[0,8]", 8), "2^63");
  fails_with(one_tensor("\"F32\"", "[4611686018427387904]", "[0,0]", 0), "overflow");
  fails_with(one_tensor("\"F32\"", "[4294967296,4294967296]", "[0,0]", 0), "overflow");
  fails_with(one_tensor("\"U8\"", "[4294967296,4294967296,0]", "[0,0]", 0), "overflow");
  fails_with(one_tensor("\"F32\"", "[2]", "[18446744073709551608,18446744073709551616]", 8), "2^63");
  fails_with(one_tensor("\"F32\"", "[2]", "[9223372036854775800,9223372036854775807]", 8), "two ascending");
  fails_with(one_tensor("\"F32\"", "2", "[0,8]", 8), "expected '['");
  fails_with(one_tensor("\"F32\"", "[\"2\"]", "[0,8]", 8), "expected a non-negative integer");
  fails_with(one_tensor("\"F32\"", "[2,]", "[0,8]", 8), "expected a non-negative integer");
  fails_with(one_tensor("\"F32\"", "null", "[0,8]", 8), "expected '['");
}

TEST_CASE("types that are not known are refused by name", "[io]") {
  fails_with(one_tensor("\"F33\"", "[2]", "[0,8]", 8), "tensor 'a': unknown dtype 'F33'");
  fails_with(one_tensor("\"f32\"", "[2]", "[0,8]", 8), "unknown dtype 'f32'");
  fails_with(one_tensor("\"\"", "[2]", "[0,8]", 8), "unknown dtype ''");
  fails_with(one_tensor("32", "[2]", "[0,8]", 8), "expected '\"'");
}

TEST_CASE("overlaps, gaps and bytes left over are refused", "[io]") {
  auto const two = [](std::string const& a, std::string const& b, std::size_t count) {
    return image(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + a +
                     R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + b + "}}",
                 std::string(count, 'x'));
  };
  CHECK_NOTHROW(parse(two("[0,4]", "[4,8]", 8)));
  CHECK_NOTHROW(parse(two("[4,8]", "[0,4]", 8)));
  fails_with(two("[0,4]", "[0,4]", 4), "overlaps another tensor");
  fails_with(two("[0,4]", "[3,7]", 7), "tensor 'b': overlaps another tensor: begins at byte 3, expected 4");
  fails_with(two("[0,4]", "[5,9]", 9), "tensor 'b': leaves a gap: begins at byte 5, expected 4");
  fails_with(two("[1,5]", "[5,9]", 9), "tensor 'a': leaves a gap");
  fails_with(two("[0,4]", "[4,8]", 9), "expected 8 bytes after the header, got 9");
  fails_with(image("{}", "x"), "expected 0 bytes after the header, got 1");
  fails_with(
      image(
          R"({"e":{"dtype":"U8","shape":[0],"data_offsets":[2,2]},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
          "xxxx"),
      "overlaps");
}

TEST_CASE("names and keys that stand twice are refused", "[io]") {
  std::string const a = R"("a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  fails_with(image("{" + a + "," + a + "}", ""), "tensor 'a': the name stands in the header twice");
  std::string const escaped = R"("\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  fails_with(image("{" + a + "," + escaped + "}", ""), "twice");
  fails_with(image(R"({"__metadata__":{},"__metadata__":{}})", ""), "'__metadata__' twice");
  fails_with(image(R"({"__metadata__":{"k":"1","k":"2"}})", ""), "a metadata key twice");
  fails_with(image(R"({"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})", ""),
             "unknown or repeated key 'dtype'");
  fails_with(image(R"({"a":{"dtype":"U8","shape":[0],"shape":[0],"data_offsets":[0,0]}})", ""),
             "unknown or repeated key 'shape'");
  fails_with(image(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"data_offsets":[0,0]}})", ""),
             "unknown or repeated key 'data_offsets'");
  fails_with(image(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"more":1}})", ""),
             "unknown or repeated key 'more'");
  fails_with(image(R"({"a":{"dtype":"U8","shape":[0]}})", ""), "expected dtype, shape and data_offsets");
  fails_with(image(R"({"a":{}})", ""), "expected '\"', got '}'");
}

TEST_CASE("text that is no JSON of this kind is refused with its place", "[io]") {
  fails_with(image("{\"a\"}", ""), "header byte 4: expected ':', got '}'");
  fails_with(image("{,}", ""), "expected '\"', got ','");
  fails_with(image("{\"__metadata__\":{\"k\":1}}", ""), "expected '\"', got '1'");
  fails_with(image("{\"__metadata__\":[]}", ""), "expected '{', got '['");
  fails_with(image("{}}", ""), "expected the end of the header, got '}'");
  fails_with(image("{}\x01", ""), "got byte 0x01");
  fails_with(image(std::string("{}\0", 3), ""), "got byte 0x00");
  fails_with(image("{\"a", ""), "the string does not end");
  fails_with(image("{\"a\\x\":1}", ""), "unknown escape");
  fails_with(image("{\"a\\u12G4\":1}", ""), "four hexadecimal digits");
  fails_with(image("{\"\\ud83d\":1}", ""), "half of a surrogate pair");
  fails_with(image("{\"\\ud83d\\u0041\":1}", ""), "half of a surrogate pair");
  fails_with(image("{\"\\ude00\":1}", ""), "half of a surrogate pair");
  fails_with(image("{\"a\nb\":1}", ""), "control character");
}

TEST_CASE("deep nesting is refused at once", "[io]") {
  std::string const depth(1'000'000, '[');
  fails_with(image("{\"a\":" + depth, ""), "expected '{', got '['");
  fails_with(image(R"({"a":{"dtype":"U8","shape":)" + depth, ""), "expected a non-negative integer, got '['");
  std::string nested;
  for (int n = 0; n < 100'000; ++n) nested += "{\"a\":";
  fails_with(image(nested, ""), "unknown or repeated key 'a'");
}

TEST_CASE("text that is not UTF-8 is refused", "[io]") {
  for (char const* bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80",
                          "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xC3", "\xE2\x82", "\xF0\x9F\x98"})
    fails_with(image(std::string("{\"") + bad + "\":1}", ""), "not UTF-8");
  for (char const* good : {"\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                           "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    std::string const bytes =
        image(std::string("{\"") + good + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", "");
    CHECK(parse(bytes).contains(good));
  }
}
