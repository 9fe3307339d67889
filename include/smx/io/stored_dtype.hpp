// SPDX-License-Identifier: Apache-2.0
/// \file  Element types of tensors in files, with their names in the safetensors format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include <smx/core/dtype.hpp>

namespace smx {

enum class stored_dtype : unsigned char {
  boolean,
  u8,
  i8,
  f8_e4m3,
  f8_e5m2,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  i64,
  u64,
  f64,
  c64
};

namespace detail {

struct stored_dtype_row {
  stored_dtype dtype;
  char const* name;
  std::size_t bytes;
};

inline constexpr stored_dtype_row stored_dtypes[] = {
    {stored_dtype::boolean, "BOOL", 1},    {stored_dtype::u8, "U8", 1},
    {stored_dtype::i8, "I8", 1},           {stored_dtype::f8_e4m3, "F8_E4M3", 1},
    {stored_dtype::f8_e5m2, "F8_E5M2", 1}, {stored_dtype::i16, "I16", 2},
    {stored_dtype::u16, "U16", 2},         {stored_dtype::f16, "F16", 2},
    {stored_dtype::bf16, "BF16", 2},       {stored_dtype::i32, "I32", 4},
    {stored_dtype::u32, "U32", 4},         {stored_dtype::f32, "F32", 4},
    {stored_dtype::i64, "I64", 8},         {stored_dtype::u64, "U64", 8},
    {stored_dtype::f64, "F64", 8},         {stored_dtype::c64, "C64", 8}};

}  // namespace detail

/// "F32", "BOOL", ...
constexpr char const* name_of(stored_dtype d) { return detail::stored_dtypes[static_cast<int>(d)].name; }

/// Bytes of one element.
constexpr std::size_t size_of(stored_dtype d) { return detail::stored_dtypes[static_cast<int>(d)].bytes; }

/// The type of that name, if there is one.
constexpr std::optional<stored_dtype> stored_dtype_named(std::string_view name) {
  for (auto const& row : detail::stored_dtypes)
    if (name == row.name) return row.dtype;
  return std::nullopt;
}

/// The type that holds elements of T as they are. T: float, double, bf16, f16, std::int64_t, std::uint8_t.
template <class T> constexpr stored_dtype stored_dtype_of() {
  if constexpr (std::same_as<T, float>)
    return stored_dtype::f32;
  else if constexpr (std::same_as<T, double>)
    return stored_dtype::f64;
  else if constexpr (std::same_as<T, bf16>)
    return stored_dtype::bf16;
  else if constexpr (std::same_as<T, f16>)
    return stored_dtype::f16;
  else if constexpr (std::same_as<T, std::int64_t>)
    return stored_dtype::i64;
  else if constexpr (std::same_as<T, std::uint8_t>)
    return stored_dtype::u8;
  else
    static_assert(sizeof(T) == 0, "stored_dtype_of: no such element type");
}

}  // namespace smx
