// SPDX-License-Identifier: Apache-2.0
/// \file  The version of the library. Semantic versioning; below 1.0 a new minor version may break source.
///
/// The build reads the three numbers from this file, so that they stand in one place.
#pragma once

namespace smx {

inline constexpr int version_major = 0;
inline constexpr int version_minor = 1;
inline constexpr int version_patch = 0;

}  // namespace smx
