// SPDX-License-Identifier: Apache-2.0
/// \file  A picture of many images with what a model says of each: green frames where it is right, red ones
/// and the true class where it is wrong, grey ones where nobody knows. Mistakes come first.
#pragma once

#include <string>
#include <vector>

#include <examples/vit/dataset.hpp>
#include <examples/vit/image.hpp>
#include <examples/vit/vit_task.hpp>

namespace smx_examples {

/// The sheet of at most `most` images of the data. Pixels are shown from the smallest to the largest value of
/// the data. The first line says how many images there are, how many are shown, and how many are wrong.
image contact_sheet(dataset const& d, std::vector<index_t> const& members,
                    std::vector<prediction> const& predictions, std::vector<std::string> const& classes,
                    index_t most);

/// Writes text in capitals, 3x5 pixels a letter, enlarged; what the font does not have is a question mark.
/// What does not fit into the picture is cut.
void draw_text(image& on, index_t y, index_t x, std::string const& text, index_t scale,
               std::uint8_t const (&colour)[3]);

}  // namespace smx_examples
