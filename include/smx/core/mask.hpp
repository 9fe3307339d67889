// SPDX-License-Identifier: Apache-2.0
/// \file  Attention masks: the concept, and every mask of the library.
#pragma once

#include <smx/core/mask/block_causal.hpp>
#include <smx/core/mask/boolean.hpp>
#include <smx/core/mask/causal.hpp>
#include <smx/core/mask/combine.hpp>
#include <smx/core/mask/concept.hpp>
#include <smx/core/mask/dilated.hpp>
#include <smx/core/mask/full.hpp>
#include <smx/core/mask/lookahead.hpp>
#include <smx/core/mask/packed.hpp>
#include <smx/core/mask/padding.hpp>
#include <smx/core/mask/prefix.hpp>
#include <smx/core/mask/ring.hpp>
#include <smx/core/mask/window.hpp>
