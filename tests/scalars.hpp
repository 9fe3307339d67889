// SPDX-License-Identifier: Apache-2.0
/// \file  The types that backends and kernels are tested in: `TEMPLATE_TEST_CASE("name", "[tag]",
/// TEST_SCALARS)`.
#pragma once

#if !defined(TEST_SCALARS)  // a build may test fewer: SMX_TEST_SCALARS
#define TEST_SCALARS float, double
#endif
