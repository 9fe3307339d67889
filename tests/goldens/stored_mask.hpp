// SPDX-License-Identifier: Apache-2.0
/// \file  A mask as a table of bytes, as golden files have it.
#pragma once

#include <cstdint>

#include <smx/core/mask.hpp>

namespace goldens {

using smx::extents;
using smx::index_t;

/// Visible where a byte is not 0; strides of 0 broadcast.
struct stored_mask {
  static constexpr bool causal = false;
  std::uint8_t const* bytes = nullptr;
  extents<4> str = {};
  friend bool operator==(stored_mask const&, stored_mask const&) = default;

  SMX_HD bool allow(index_t b, index_t h, index_t i, index_t j) const {
    return bytes[b * str[0] + h * str[1] + i * str[2] + j * str[3]] != 0;
  }
  SMX_HD smx::tile_class tile(index_t, index_t, smx::index_range, smx::index_range) const {
    return smx::tile_class::partial;
  }
  SMX_HD smx::index_range keys(index_t, index_t, smx::index_range, index_t count) const { return {0, count}; }
};
static_assert(smx::Mask<stored_mask>);

}  // namespace goldens
