// SPDX-License-Identifier: Apache-2.0
/// \file  The CPU backend and the tuned kernels that it puts in the place of recipes. Include after
/// <smx/smx.hpp>, or alone.
#pragma once

#include <smx/backend/cpu/backend.hpp>
#include <smx/backend/cpu/tuned_attention.hpp>
#include <smx/backend/cpu/tuned_chunk_scan.hpp>
#include <smx/backend/cpu/tuned_chunk_scan_backward.hpp>
#include <smx/backend/cpu/tuned_convolution.hpp>
#include <smx/backend/cpu/tuned_monarch.hpp>
#include <smx/backend/cpu/tuned_product.hpp>
