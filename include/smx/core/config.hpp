// SPDX-License-Identifier: Apache-2.0
/// \file  Compiler facts only: nothing here changes what a program computes.
#pragma once

/// Callable on the host and, under nvcc, on the device.
#if defined(__CUDACC__)
#define SMX_HD __host__ __device__
#else
#define SMX_HD
#endif

/// Inlined at every optimisation level: the pieces of a register kernel must meet in one function, and an
/// index is no call in a debug build.
#if defined(__GNUC__) || defined(__clang__)
#define SMX_INLINE [[gnu::always_inline]] inline
#else
#define SMX_INLINE inline
#endif
