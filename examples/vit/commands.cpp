// SPDX-License-Identifier: Apache-2.0
#include <examples/vit/commands.hpp>

#include <algorithm>
#include <cstdio>
#include <numeric>

#include <examples/vit/contact_sheet.hpp>
#include <examples/vit/runner.hpp>

namespace smx_examples {

namespace {

mixer_program find_mixer(std::string const& name) { return name == "m2" ? m2_program() : softmax_program(); }

std::string source_of(program_options const& o) { return o.images.empty() ? o.data : o.labels; }

/// What a model says of the images that the options name.
struct classified {
  vit_source from;
  dataset data;
  std::vector<index_t> members;
  std::vector<prediction> predictions;
  bool labelled = false;
};

classified classify_data(program_options const& o, bool unlabelled) {
  classified c;
  c.from = read_vit_source(o.source);
  vit_config const& model = c.from.config;
  c.data = read_data(o, o.images.empty() ? model.classes : std::vector<std::string>(), unlabelled);
  expect_images_fit(model, c.data, o.images.empty() ? o.data : o.images);
  expect_labels_below(c.data, static_cast<index_t>(model.classes.size()), source_of(o));
  c.labelled = c.data.labels[0] >= 0;
  if (o.part == "held-out") {
    auto const& run = c.from.run;
    smx::expects(run.contains("data") && run.contains("training"),
                 "--part: expected a checkpoint of smx-vit where only what was held out is asked for");
    double const share = run["data"].value("held_out", -1.0);
    if (describe(c.data, share) != run["data"])
      throw smx::file_error(o.source, "--part held-out: expected the images that the run was trained on");
    c.members = split(c.data, share, run["training"].value("seed", std::uint64_t{0})).second;
  } else {
    c.members.resize(c.data.labels.size());
    std::iota(c.members.begin(), c.members.end(), index_t{0});
  }
  c.predictions = find_mixer(model.mixer).classify(o, c.from, c.data, c.members);
  return c;
}

void print_accuracy(std::FILE* to, classified const& c) {
  double loss = 0;
  for (prediction const& p : c.predictions) loss += p.loss;
  auto const total = static_cast<double>(c.members.size());
  index_t const right = detail::count_right(c.data, c.members, c.predictions);
  std::fprintf(to, "%.2f %% right (%lld of %zu), loss %.4f\n", 100.0 * static_cast<double>(right) / total,
               static_cast<long long>(right), c.members.size(), loss / total);
}

}  // namespace

void train_command(program_options& o) {
  dataset const d = read_data(o, {}, false);
  expects_number(o.held_out > 0 && o.held_out < 1, "--held-out", "a share between 0 and 1", o.held_out);
  expects_number(o.smoothing >= 0 && o.smoothing < 1, "--label-smoothing", "0 up to below 1", o.smoothing);
  smx::expects_value(o.batch >= 1, "--batch", "at least 1", o.batch);
  auto const [members, held_out] = split(d, o.held_out, o.training.seed);
  smx::expects(!members.empty() && !held_out.empty(),
               "--held-out: expected a share that leaves images on both sides");
  complete_config(o, d, members);
  find_mixer(o.model.mixer).train(o, d, members, held_out);
}

void eval_command(program_options& o) {
  classified const c = classify_data(o, false);
  print_accuracy(stdout, c);
  std::vector<std::string> const& classes = c.from.config.classes;
  std::vector<index_t> right(classes.size()), all(classes.size());
  for (std::size_t n = 0; n < c.members.size(); ++n) {
    auto const label = static_cast<std::size_t>(c.data.labels[static_cast<std::size_t>(c.members[n])]);
    ++all[label];
    right[label] += c.predictions[n].label == static_cast<index_t>(label) ? 1 : 0;
  }
  for (std::size_t k = 0; k < classes.size(); ++k)
    if (all[k] > 0)
      std::printf("  %-20s %6lld of %lld\n", classes[k].c_str(), static_cast<long long>(right[k]),
                  static_cast<long long>(all[k]));
}

void predict_command(program_options& o) {
  smx::expects_value(o.sheet_images >= 1, "--sheet-images", "at least 1", o.sheet_images);
  if (!o.sheet.empty() && !o.sheet.ends_with(".png") && !o.sheet.ends_with(".ppm"))
    throw smx::file_error(o.sheet, "expected the name of a .png or .ppm file for the sheet");
  if (o.sheet.ends_with(".png") && !has_png())
    throw smx::file_error(o.sheet, "this program was built without libpng: name a .ppm file instead");
  classified const c = classify_data(o, true);
  for (std::size_t n = 0; n < c.members.size(); ++n) {
    auto const member = static_cast<std::size_t>(c.members[n]);
    index_t const label = c.data.labels[member];
    prediction const& p = c.predictions[n];
    std::printf("%s\t%s\t%.4f%s%s\n", c.data.names[member].c_str(), c.from.config.class_name(p.label).c_str(),
                p.probability, label >= 0 && label != p.label ? "\twrong: " : "",
                label >= 0 && label != p.label ? c.from.config.class_name(label).c_str() : "");
  }
  if (c.labelled) print_accuracy(stderr, c);
  if (o.sheet.empty()) return;
  write_image(o.sheet,
              contact_sheet(c.data, c.members, c.predictions, c.from.config.classes, o.sheet_images));
  std::fprintf(stderr, "wrote %s\n", o.sheet.c_str());
}

}  // namespace smx_examples
