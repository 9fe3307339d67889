// SPDX-License-Identifier: Apache-2.0
#include <examples/bert/info.hpp>

#include <algorithm>
#include <cstdio>

namespace smx_examples {
namespace {

template <class... A> std::string line(char const* format, A... a) {
  char text[256];
  std::snprintf(text, sizeof text, format, a...);
  return std::string(text) + "\n";
}
double mega(std::size_t bytes) { return static_cast<double>(bytes) * 1e-6; }

template <class Block>
std::string plan_lines(smx::bert_config const& config, smx::tiling const& how, index_t batch,
                       index_t length) {
  auto const model = smx::make_bert<Block>(config);
  auto const plan = smx::plan_bert<smx::cpu::planner>(
      how, model, batch, length, config.head ? std::max<index_t>(1, batch * length * 3 / 20) : 0);
  index_t parameters = 0, tables = 0;
  model.for_each_weight(
      [&](auto const& info) { (info.trained ? parameters : tables) += smx::checked_size(info.ext); });
  bool const kernels = smx::nn::prepares<Block>;
  auto const& c = kernels ? plan.encode_prepared : plan.encode;
  std::string text = line("parameters    %lld trained", static_cast<long long>(parameters));
  if (tables > 0)
    text += line("              %lld in tables that are not trained", static_cast<long long>(tables));
  text += line("plan          %lld sequence%s of %lld tokens, %d thread%s, float32",
               static_cast<long long>(batch), batch == 1 ? "" : "s", static_cast<long long>(length),
               how.threads, how.threads == 1 ? "" : "s");
  text += line("  encode      %.4g GFLOP, %.4g MB moved", c.flops * 1e-9, c.bytes * 1e-6);
  text += line("  memory      %.4g MB: weights %.4g, workspace %.4g, output %.4g%s",
               mega(plan.inference_bytes(kernels)), mega(plan.weights), mega(c.workspace), mega(plan.output),
               kernels ? (", kernels " + std::to_string(plan.prepared / 1000000)).c_str() : "");
  if (kernels)
    text += line(
        "  kernels     once for this length: %.4g GFLOP; without keeping them %.4g MB in all and %.4g GFLOP",
        plan.prepare.flops * 1e-9, mega(plan.inference_bytes(false)), plan.encode.flops * 1e-9);
  if (config.head)
    text += line("  training    %.4g GFLOP a step with 15 %% masked, workspace %.4g MB",
                 plan.training.flops * 1e-9, mega(plan.training.workspace));
  return text;
}

}  // namespace

std::string describe_bert(std::string const& path, index_t batch, index_t length, int threads, bool tensors) {
  bert_folder const folder = read_bert_folder(path);
  smx::bert_config const c = read_bert_config(folder);
  bool const m2 = c.mixing == smx::bert_mixing::m2;
  index_t const longest = longest_sequence(c);
  index_t const at = length == 0 ? longest : length;
  smx::expects_value(batch >= 1, "batch", "at least 1", batch);
  smx::expects_value(at >= 1 && at <= longest, "length",
                     ("1 to the " + std::to_string(longest) + " positions of the model").c_str(), at);
  smx::safetensors_file const file(folder.weights_file);
  std::size_t bytes = 0;
  for (std::string const& name : file.names()) bytes += file.at(name).bytes.size();
  auto const number = [](index_t n) { return static_cast<long long>(n); };
  std::string text = line("file          %s: %zu tensors, %.4g MB", folder.weights_file.c_str(),
                          file.names().size(), mega(bytes));
  text += line("mixer         %s", m2 ? "m2 (Monarch Mixer, bidirectional long convolutions)"
                                   : c.mixing == smx::bert_mixing::softmax ? "softmax attention"
                                                                           : "softmax attention with ALiBi");
  text += line("sizes         %lld layers, %lld channels, %lld inside of the MLPs, vocabulary %lld",
               number(c.depth), number(c.channels), number(c.intermediate), number(c.vocabulary));
  if (m2)
    text += line(
        "              up to %lld tokens; filters of width %lld, %s second long convolution, %s norm in "
        "front",
        number(longest), number(c.width), c.residual ? "with a" : "no", c.input_norm ? "with a" : "no");
  else
    text += line("              up to %lld tokens; %lld heads", number(longest), number(c.heads));
  text += line("parts         encoder%s%s%s", c.pooler ? ", pooler" : "", c.head ? ", masked-LM head" : "",
               c.classes > 0 ? ", classifier" : "");
  smx::tiling const how = smx::cpu(threads).how();
  if (m2)
    text += plan_lines<monarch_block>(c, how, batch, at);
  else if (c.mixing == smx::bert_mixing::softmax)
    text += plan_lines<attention_block>(c, how, batch, at);
  if (tensors)
    for (std::string const& name : file.names()) {
      auto const& entry = file.at(name);
      text += line("%-10s %s %s", smx::name_of(entry.dtype), name.c_str(),
                   smx::detail::print_shape(entry.shape).c_str());
    }
  return text;
}

}  // namespace smx_examples
