// SPDX-License-Identifier: Apache-2.0
/// \file  Layers of models: what blocks, their training and their streams are made of. Not part of smx.hpp.
#pragma once

#include <smx/nn/activation.hpp>
#include <smx/nn/adamw.hpp>
#include <smx/nn/cross_entropy.hpp>
#include <smx/nn/dropout.hpp>
#include <smx/nn/embedding.hpp>
#include <smx/nn/gated_mixer.hpp>
#include <smx/nn/hyena_filter.hpp>
#include <smx/nn/layer.hpp>
#include <smx/nn/linear.hpp>
#include <smx/nn/m2_sequence_mixer.hpp>
#include <smx/nn/mlp.hpp>
#include <smx/nn/norm.hpp>
#include <smx/nn/patch_embedding.hpp>
#include <smx/nn/positions.hpp>
#include <smx/nn/recomputed.hpp>
#include <smx/nn/residual.hpp>
#include <smx/nn/schedule.hpp>
#include <smx/nn/seed.hpp>
#include <smx/nn/self_attention.hpp>
#include <smx/nn/sequential.hpp>
#include <smx/nn/short_convolution.hpp>
#include <smx/nn/soft_cross_entropy.hpp>
#include <smx/nn/ssd_layer.hpp>
#include <smx/nn/stack.hpp>
#include <smx/nn/tables.hpp>
