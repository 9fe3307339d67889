// SPDX-License-Identifier: Apache-2.0
/// \file  The commands of smx-gpt for one mixer. Each mixer is compiled in a file of its own.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <examples/common/training/loop.hpp>
#include <examples/gpt/options.hpp>
#include <examples/gpt/sampling.hpp>
#include <examples/gpt/task.hpp>
#include <examples/gpt/text_data.hpp>
#include <smx/backend/cpu.hpp>

namespace smx_examples {

/// A mixer of --mixer. `limited`: whether models have max_length positions and no more.
struct mixer_program {
  char const* name;
  char const* about;
  void (*train)(program_options const&, codec const&, text_data const&);
  void (*generate)(program_options const&, codec const&);
  void (*eval)(program_options const&, codec const&, text_data const&);
};

/// In the order of --help.
std::vector<mixer_program> all_mixers();

/// Positions that a model has; 0: any number.
index_t position_limit(model_config const& c);

namespace detail {

inline double bits(double nats) { return nats / std::log(2.0); }
/// Bits a byte of a loss in nats a token.
inline double bits_a_byte(double loss, std::size_t tokens, std::size_t bytes) {
  return bits(loss) * static_cast<double>(tokens) / static_cast<double>(bytes);
}
inline double since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Prints what the model writes behind the prompt, token by token. check_writing has seen the options.
template <class B, class M, class W>
void write_text(B& be, smx::gpt<M> const& m, W const& w, codec const& c, program_options const& o) {
  using T = typename M::scalar;
  sampling const how{o.temperature, o.top_k, o.top_p};
  std::vector<std::int32_t> text = c.encode(o.prompt, "prompt");
  for (std::int32_t const id : text)
    smx::expects_value(id < m.vocabulary, "prompt", "tokens of the model's vocabulary", id);
  index_t const asked = static_cast<index_t>(text.size()) + o.tokens, limit = position_limit(o.model);
  index_t const capacity = limit == 0 || asked < limit ? asked : limit;

  auto s = m.make_state(be, w, 1, capacity);
  smx::tensor<T, 4> logits({1, 1, 1, m.vocabulary});
  auto const take = [&](std::size_t first) {
    auto const count = static_cast<index_t>(text.size() - first);
    smx::tensor<index_t, 2> ids({1, count});
    for (index_t i = 0; i < count; ++i) ids(0, i) = text[first + static_cast<std::size_t>(i)];
    m.prefill(be, w, ids.cview(), s, logits.view());
    be.synchronize();
  };
  // A model with a last position goes on from the newer half of what it has seen.
  auto const restart = [&] {
    s = m.make_state(be, w, 1, capacity);
    auto const kept = static_cast<std::size_t>(capacity > 1 ? capacity / 2 : 1);
    take(text.size() > kept ? text.size() - kept : 0);
  };
  auto const begin = std::chrono::steady_clock::now();
  std::fputs(o.prompt.c_str(), stdout);
  if (static_cast<index_t>(text.size()) <= capacity)
    take(0);
  else
    restart();
  double const prompt = since(begin);
  smx::random_stream const random{o.seed, 2};
  index_t restarts = 0;
  for (index_t i = 0; i < o.tokens; ++i) {
    index_t const next = choose_token({logits.data(), static_cast<std::size_t>(m.vocabulary)}, how,
                                      random.uniform(static_cast<std::uint64_t>(i)));
    std::string const piece = c.decode(next);
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    std::fflush(stdout);
    text.push_back(static_cast<std::int32_t>(next));
    if (i + 1 == o.tokens) break;
    if (s.position == s.capacity) {
      ++restarts;
      restart();
    } else {
      take(text.size() - 1);
    }
  }
  std::fputc('\n', stdout);
  std::fflush(stdout);
  if (o.plain) return;
  double const all = since(begin);
  std::fprintf(stderr, "prompt %.3g s, then %.3g ms a token", prompt,
               1e3 * (all - prompt) / static_cast<double>(o.tokens));
  if (restarts > 0)
    std::fprintf(stderr, "; %lld times went on from the last %lld tokens", static_cast<long long>(restarts),
                 static_cast<long long>(capacity / 2));
  std::fputc('\n', stderr);
}

}  // namespace detail

template <class M>
void train_model(program_options const& o, smx::gpt<M> const& m, codec const& c, text_data const& data) {
  expects_sequence(data.train, o.model.length, "to train on");
  smx::expects(data.held_out.size() >= 2, "held-out: expected a share that leaves 2 tokens or more");
  smx::expects_value(o.batch >= 1, "batch", "at least 1", o.batch);
  smx::cpu be(o.threads);
  gpt_task<M> task(m, data.train, data.held_out, o.model.length, o.batch, o.training.seed);
  training_options t = o.training;
  t.title = "smx-gpt train, " + o.model.mixer;
  t.config = {
      {"model", to_json(o.model)}, {"data", data.about}, {"batch", o.batch}, {"tokenizer", o.tokenizer}};
  check_training_options(t);
  training_plan const plan = plan_training(be, m, task);
  std::string const text = print_plan(plan, t, o.model.mixer, be.threads());
  if (o.plan) {
    std::fputs(text.c_str(), stdout);
    expects_memory(t.title, plan.memory(!t.checkpoint.empty()));
    return;
  }
  if (!t.quiet) std::fputs(text.c_str(), stderr);
  auto const result = train(be, m, task, t, plan, [&](auto& w) {
    w = smx::initialize(be, m, t.seed);
    m.fill_tables(be, w.write());
  });
  if (!result.interrupted.empty()) return;
  double const loss = result.held_out ? *result.held_out : task.held_out(be, result.weights.read());
  std::printf("held out: %.4f bits per byte after %lld steps, %s\n",
              detail::bits_a_byte(loss, data.held_out.size(), data.held_out_bytes),
              static_cast<long long>(result.step), print_seconds(result.seconds).c_str());
  detail::write_text(be, m, result.weights.read(), c, o);
}

/// The weights of a checkpoint of this program.
template <class B, class M>
host_parameters<smx::gpt<M>> read_weights(B& be, smx::gpt<M> const& m, std::string const& path) {
  host_parameters<smx::gpt<M>> w(be, m);
  tensor_reader file(path);
  file.want("", m, w);
  file.read({.unknown_is_error = true});
  return w;
}

template <class B, class M, class W>
void eval_model(B& be, program_options const& o, smx::gpt<M> const& m, W const& w, text_data const& data) {
  auto const& tokens = data.held_out;
  smx::expects(tokens.size() >= 2, "text: expected at least 2 tokens to evaluate");
  std::vector<index_t> lengths = o.lengths;
  index_t const limit = position_limit(o.model);
  if (lengths.empty()) {
    lengths.push_back(o.model.length);
    for (index_t const n : {2 * o.model.length, 4 * o.model.length})
      if (limit == 0 || n <= limit) lengths.push_back(n);
  }
  for (index_t const n : lengths) {
    std::string const most = "1 to the " + std::to_string(limit) + " positions that the model has";
    smx::expects_value(n >= 1 && (limit == 0 || n <= limit), "length",
                       limit == 0 ? "at least 1" : most.c_str(), n);
    expects_sequence(tokens, n, "to evaluate");
    double const loss = mean_loss(be, m, w, tokens, n, 1);
    std::printf("length %lld: %.4f bits per byte (%zu bytes)\n", static_cast<long long>(n),
                detail::bits_a_byte(loss, tokens.size(), data.held_out_bytes), data.held_out_bytes);
  }
}

/// The commands for models that `Make` makes: gpt<M> Make::make(model_config const&).
template <class Make> mixer_program program_of(char const* name, char const* about) {
  return {name, about,
          [](program_options const& o, codec const& c, text_data const& data) {
            train_model(o, Make::make(o.model), c, data);
          },
          [](program_options const& o, codec const& c) {
            smx::cpu be(o.threads);
            auto const m = Make::make(o.model);
            auto const w = read_weights(be, m, o.checkpoint);
            detail::write_text(be, m, w.read(), c, o);
          },
          [](program_options const& o, codec const&, text_data const& data) {
            smx::cpu be(o.threads);
            auto const m = Make::make(o.model);
            auto const w = read_weights(be, m, o.checkpoint);
            eval_model(be, o, m, w.read(), data);
          }};
}

/// The sizes of a model but for its mixer and its positions.
inline smx::gpt_sizes sizes_of(model_config const& c) {
  return {.vocabulary = c.vocabulary, .channels = c.channels, .depth = c.depth, .inner = c.inner};
}

}  // namespace smx_examples
