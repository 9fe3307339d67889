// SPDX-License-Identifier: Apache-2.0
/// \file  The commands of smx-vit: what they read, what they print, which pictures they write.
#pragma once

#include <examples/vit/options.hpp>

namespace smx_examples {

/// Trains a model; prints the accuracy on the images that were held out.
void train_command(program_options& o);

/// Prints accuracy and loss on labelled images, and how many of each class are right.
void eval_command(program_options& o);

/// Prints a line for each image: its name, the class, the probability, and the right class if it is another
/// one. Writes a contact sheet.
void predict_command(program_options& o);

}  // namespace smx_examples
