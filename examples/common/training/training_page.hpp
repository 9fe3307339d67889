// SPDX-License-Identifier: Apache-2.0
/// \file  The log of a training run as one HTML page: curves with labelled axes, figures, a table. It needs
/// nothing from the network and no script, and is readable on dark and light screens.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <examples/common/training/training_log.hpp>

namespace smx_examples {

struct page_content {
  std::string title;
  /// What was run: names and values, shown as they are.
  std::vector<std::pair<std::string, std::string>> facts;
  std::vector<log_record> records;
};

/// The page. Curves show at most 1000 points each, the table at most 200 rows, evenly chosen, the last one
/// always; the page says so where some are left out.
std::string training_page(page_content const& content);

/// Writes the page beside the file and renames it. Throws smx::file_error.
void write_training_page(std::string const& path, page_content const& content);

}  // namespace smx_examples
