// SPDX-License-Identifier: Apache-2.0
/// \file  Everything that needs the standard library only: core, the backends reference and plan, all mixers.
/// Add
///        <smx/backend/cpu.hpp> for the CPU (Eigen).
#pragma once

#include <smx/backend/plan.hpp>
#include <smx/backend/reference.hpp>
#include <smx/mixers/attention.hpp>
#include <smx/mixers/block_diagonal.hpp>
#include <smx/mixers/causal_layer.hpp>
#include <smx/mixers/causal_monarch.hpp>
#include <smx/mixers/dense.hpp>
#include <smx/mixers/linear_attention.hpp>
#include <smx/mixers/long_convolution.hpp>
#include <smx/mixers/lookahead_cache.hpp>
#include <smx/mixers/masked_monarch.hpp>
#include <smx/mixers/materialize.hpp>
#include <smx/mixers/merge.hpp>
#include <smx/mixers/monarch.hpp>
#include <smx/mixers/nc_ssd.hpp>
#include <smx/mixers/planning.hpp>
#include <smx/mixers/run.hpp>
#include <smx/mixers/ssd.hpp>
#include <smx/mixers/ssd_values.hpp>
#include <smx/mixers/stream.hpp>
#include <smx/mixers/stream_frontier.hpp>
#include <smx/mixers/streaming_session.hpp>
#include <smx/version.hpp>
