// SPDX-License-Identifier: Apache-2.0
/// \file  The training loop that all programs share: AdamW on any model with for_each_weight.
///
/// A task is what is learnt. Everything that it draws must be a function of the step (and of its seed):
///
///   double loss_and_gradients(B& be, weights w, index_t step, gradients dw);   // dw: zero when it is called
///   void plan(P& planner, weights w, gradients dw);              // one step, on views without memory
///   index_t units();                                            // tokens or images of a step
///   double held_out(B& be, weights w);                          // may be left out: loss on other data
///   void plan_held_out(P& planner, weights w);                  // with held_out
///   index_t held_out_units();                                   // with held_out: what it goes through
///   std::string first_non_finite(B& be, weights w, index_t step);   // may be left out: the layer
///
/// Then the same seed gives the same bits for any number of threads, and a resumed run those of one that was
/// not interrupted. A checkpoint holds weights that had a finite loss: step s is saved when its loss is known
/// and before its update.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <utility>

#include <examples/common/training/checkpoint.hpp>
#include <examples/common/training/interrupt.hpp>
#include <examples/common/training/loop_options.hpp>
#include <examples/common/training/memory_check.hpp>
#include <examples/common/training/training_log.hpp>
#include <examples/common/training/training_page.hpp>
#include <smx/mixers/run.hpp>
#include <smx/nn/adamw.hpp>

namespace smx_examples {

using smx::index_t;

/// What train returns.
template <class M> struct training_result {
  host_parameters<M> weights;
  index_t step = 0;   ///< updates so far
  index_t steps = 0;  ///< of the whole run
  double loss = 0;    ///< of the last batch, in nats
  std::optional<double> held_out;
  double seconds = 0;       ///< all parts of the run together
  std::string interrupted;  ///< the signal that ended it; empty: the run is complete
};

/// What this backend does in a second: a product of 512x512 matrices, a sum of arrays of 8 MB. 0.1 s.
template <class B> machine_speed measure_speed(B& be) {
  using clock = std::chrono::steady_clock;
  auto const rate = [](double work, auto const& run) {
    run();
    auto const begin = clock::now();
    double done = 0, seconds = 0;
    do {
      run();
      done += work;
      seconds = std::chrono::duration<double>(clock::now() - begin).count();
    } while (seconds < 0.05);
    return done / seconds;
  };
  constexpr index_t n = 512, long_n = index_t{1} << 21;
  smx::tensor<float, 4, smx::host_space> a(be.memory(), smx::extents<4>{1, 1, n, n}),
      b(be.memory(), a.extents()), c(be.memory(), a.extents());
  smx::tensor<float, 1, smx::host_space> x(be.memory(), smx::extents<1>{long_n}), y(be.memory(), x.extents());
  machine_speed s;
  s.flops = rate(2.0 * n * n * n,
                 [&] { be.gemm(smx::op::none, smx::op::none, 1.0f, a.cview(), b.cview(), 0.0f, c.view()); });
  s.bytes = rate(3.0 * sizeof(float) * long_n, [&] { be.map(smx::add{}, y.view(), y.cview(), x.cview()); });
  return s;
}

/// What a run of this task would need, before anything is allocated.
template <class B, class M, class Task> training_plan plan_training(B& be, M const& m, Task& task) {
  using planner = typename B::planner;
  training_plan p;
  smx::weights_in<M, planner> w;
  m.for_each_weight(
      [&](auto const& info, auto& read) {
        read = {nullptr, info.ext};
        p.weights += smx::checked_bytes<typename M::scalar>(info.ext, info.name);
        p.parameters += info.trained ? read.size() : 0;
      },
      w);
  {
    planner plan(be.how());
    smx::parameters<M, planner> weights(plan, m), dw(plan, m);
    smx::adamw_state<M, planner> s(plan, m);
    {
      auto frame = plan.scope();
      task.plan(plan, weights.read(), dw.write());
    }
    smx::adamw{.decay = 0.1, .most_norm = 1}.update(plan, m, dw, 1e-3, s, weights);
    p.step = plan.result();
  }
  if constexpr (requires(planner & plan) { task.plan_held_out(plan, w); }) {
    planner plan(be.how());
    task.plan_held_out(plan, w);
    p.held_out = plan.workspace_bytes();
  }
  machine_speed const speed = measure_speed(be);
  p.seconds_a_step = p.step.flops / speed.flops + p.step.bytes / speed.bytes;
  return p;
}

namespace detail {

/// The loop with its state. One object is one part of a run.
template <class B, class M, class Task> class trainer {
 public:
  using clock = std::chrono::steady_clock;

  trainer(B& be, M const& m, Task& task, training_options const& o)
      : be_(be), m_(m), task_(task), o_(o), w_(be, m), dw_(be, m), adam_(be, m) {
    run_.config = training_config(o);
  }

  template <class Init> training_result<M> run(Init const& init) {
    start(init);
    interrupt_watch watch;
    begin_ = mark_ = clock::now();
    marked_ = timed_from_ = first_;
    first_seconds_ = before_;
    for (index_t step = first_;; ++step) {
      if (steps_ == 0 && step >= o_.warmup) settle(step);
      double const loss = loss_at(step);
      bool const last = steps_ > 0 && step >= steps_, stop = last || watch.requested();
      bool const due = o_.save_every > 0 && step > first_ && step % o_.save_every == 0;
      if (stop || due) save(step, stop);
      if (!stop) {
        update(step, loss);
        continue;
      }
      std::string const interrupted = last ? "" : watch.name();
      if (!interrupted.empty() && !o_.quiet) say_interrupted(step, interrupted);
      return {std::move(w_), step, steps_, loss, held_out_, seconds(), interrupted};
    }
  }

 private:
  template <class Init> void start(Init const& init) {
    namespace fs = std::filesystem;
    bool const there = !o_.checkpoint.empty() && fs::exists(o_.checkpoint);
    steps_ = o_.steps;
    if (o_.resume) {
      run_ = resume_checkpoint(o_.checkpoint, run_.config, {}, m_, w_, adam_);
      auto const counter = [&](char const* name) {
        auto const it = run_.counters.find(name);
        if (it == run_.counters.end() || it->second < 0)
          throw smx::file_error(o_.checkpoint, std::string("expected the counter '") + name + "' of a run");
        return it->second;
      };
      first_ = counter("step");
      steps_ = counter("steps");
      before_ = static_cast<double>(counter("milliseconds")) * 1e-3;
      if (!o_.log.empty()) log_.emplace(training_log::resumed(o_.log, first_));
      if (!o_.quiet)
        std::fprintf(stderr, "resumed from %s at step %lld\n", o_.checkpoint.c_str(),
                     static_cast<long long>(first_));
    } else {
      if (there && !o_.overwrite)
        throw smx::file_error(o_.checkpoint, "is there: resume its run, or allow that it is overwritten");
      if (!o_.log.empty()) {
        if (o_.overwrite)
          log_.emplace(training_log::resumed(o_.log, -1));
        else
          log_.emplace(o_.log);
      }
      init(w_);
    }
    if (log_) records_ = log_->records();
  }

  /// Fixes the number of steps by the time that the first ones took. From here on it is part of the run. A
  /// held-out loss goes forward only: a third of the work of a step on as much.
  void settle(index_t step) {
    double const each = std::max(
        1e-6, (seconds() - first_seconds_) / static_cast<double>(std::max<index_t>(1, step - timed_from_)));
    double evaluation = 0;
    if constexpr (requires { task_.held_out_units(); })
      evaluation =
          each * static_cast<double>(task_.held_out_units()) / static_cast<double>(3 * task_.units());
    double const often = o_.evaluate_every > 0 ? evaluation / static_cast<double>(o_.evaluate_every) : 0;
    double const left = 60 * o_.minutes - seconds() - evaluation;
    auto const more = static_cast<index_t>(left / (each + often));
    steps_ = step + (more > 1 ? more : 1);
    if (!o_.quiet)
      std::fprintf(stderr, "%.3g s a step: the run has %lld steps (--steps %lld gives the same bits)\n", each,
                   static_cast<long long>(steps_), static_cast<long long>(steps_));
  }

  double loss_at(index_t step) {
    be_.map(smx::constant<typename M::scalar>{0}, dw_.all());
    double const loss = task_.loss_and_gradients(be_, w_.read(), step, dw_.write());
    be_.synchronize();
    if (!std::isfinite(loss)) stop_at(step, "the loss is not a finite number");
    return loss;
  }

  void update(index_t step, double loss) {
    smx::rate_schedule const schedule{o_.rate, o_.warmup, steps_ > 0 ? steps_ : o_.warmup + 1, o_.law,
                                      o_.final_fraction};
    double const rate = schedule.at(step);
    smx::adamw const adam{.beta1 = o_.beta1, .beta2 = o_.beta2, .decay = o_.decay, .most_norm = o_.clip};
    if (!adam.update(be_, m_, dw_, rate, adam_, w_)) stop_at(step, "the gradient is not finite");
    index_t const done = step + 1;
    if (done == first_ + 1 && done < o_.warmup)
      timed_from_ = done, first_seconds_ = seconds();  // the first one allocates
    bool const last = done == steps_;
    bool const evaluates = last || (o_.evaluate_every > 0 && done % o_.evaluate_every == 0);
    if (!evaluates && done % o_.log_every != 0) return;
    log_record r{done, loss, rate, static_cast<double>(adam_.norm.cview()(0)), 0, seconds(), {}};
    double const passed = std::chrono::duration<double>(clock::now() - mark_).count();
    r.tokens_per_second = static_cast<double>((done - marked_) * task_.units()) / passed;
    if constexpr (requires { task_.held_out(be_, w_.read()); })
      if (evaluates) r.held_out = held_out_ = task_.held_out(be_, w_.read());
    mark_ = clock::now(), marked_ = done;
    if (log_) log_->add(r);
    records_.push_back(r);
    if (!o_.quiet) say(r);
  }

  void save(index_t step, bool stop) {
    if (auto const bad = smx::non_finite_weight(m_, w_.read()); !bad.empty())
      stop_at(step, "weight " + bad + " is not finite");
    if (!o_.checkpoint.empty()) {
      run_.counters["step"] = step;
      run_.counters["steps"] = steps_;
      run_.counters["milliseconds"] = static_cast<std::int64_t>(seconds() * 1e3);
      save_checkpoint(o_.checkpoint, run_, m_, w_, adam_);
      saved_ = step;
    }
    if (!o_.page.empty() && (stop || !records_.empty())) {
      page_content page{o_.title, {}, records_};
      page.facts.emplace_back("steps", std::to_string(step));
      nlohmann::json const flat = run_.config.flatten();  // items() refers to it
      for (auto const& [name, value] : flat.items())
        page.facts.emplace_back(name.substr(1),
                                value.is_string() ? value.template get<std::string>() : value.dump());
      write_training_page(o_.page, page);
    }
  }

  [[noreturn]] void stop_at(index_t step, std::string const& what) {
    std::string text = "step " + std::to_string(step) + ": " + what;
    std::string where = smx::non_finite_weight(m_, w_.read());
    if (!where.empty()) where = "weight " + where;
    if constexpr (requires { task_.first_non_finite(be_, w_.read(), step); })
      if (where.empty()) where = task_.first_non_finite(be_, w_.read(), step);
    if (where.empty())
      if (where = smx::non_finite_weight(m_, dw_.read()); !where.empty()) where = "the gradient of " + where;
    if (!where.empty()) text += "; it first appeared in " + where;
    if (saved_ >= 0 || o_.resume)
      text += "; " + o_.checkpoint + " holds step " + std::to_string(saved_ >= 0 ? saved_ : first_);
    throw training_error(text);
  }

  double seconds() const { return before_ + std::chrono::duration<double>(clock::now() - begin_).count(); }
  void say(log_record const& r) const {
    std::string const of = steps_ > 0 ? "/" + std::to_string(steps_) : "";
    std::fprintf(stderr, "step %lld%s  loss %.4f  rate %.2e  %.0f %s/s  %s", static_cast<long long>(r.step),
                 of.c_str(), r.loss, r.rate, r.tokens_per_second, o_.unit.c_str(),
                 print_seconds(r.seconds).c_str());
    if (r.held_out)
      std::fprintf(stderr, "  held out %.4f (%.3f bits)", *r.held_out, *r.held_out / std::log(2.0));
    std::fputc('\n', stderr);
  }
  void say_interrupted(index_t step, std::string const& signal) const {
    if (o_.checkpoint.empty())
      std::fprintf(stderr, "%s after step %lld: stopped; no checkpoint was asked for\n", signal.c_str(),
                   static_cast<long long>(step));
    else
      std::fprintf(stderr, "%s after step %lld: saved to %s; --resume goes on from there\n", signal.c_str(),
                   static_cast<long long>(step), o_.checkpoint.c_str());
  }

  B& be_;
  M const& m_;
  Task& task_;
  training_options const& o_;
  host_parameters<M> w_, dw_;
  host_adamw_state<M> adam_;
  run_state run_;
  std::optional<training_log> log_;
  std::vector<log_record> records_;
  std::optional<double> held_out_;
  index_t first_ = 0, steps_ = 0, saved_ = -1, marked_ = 0, timed_from_ = 0;
  double before_ = 0, first_seconds_ = 0;
  clock::time_point begin_ = clock::now(), mark_ = begin_;
};

}  // namespace detail

/// Trains m. init(weights) gives the weights of a fresh run. Throws precondition_error for options that make
/// no sense, memory_error where the machine has no room (nothing was allocated), file_error, and
/// training_error where loss, gradient or weights are not finite: the checkpoint is then the last good one.
template <class B, class M, class Task, class Init>
training_result<M> train(B& be, M const& m, Task& task, training_options const& o, training_plan const& plan,
                         Init const& init) {
  check_training_options(o);
  expects_places(o);
  expects_memory(o.title, plan.memory(!o.checkpoint.empty()));
  return detail::trainer<B, M, Task>(be, m, task, o).run(init);
}
template <class B, class M, class Task, class Init>
training_result<M> train(B& be, M const& m, Task& task, training_options const& o, Init const& init) {
  return train(be, m, task, o, plan_training(be, m, task), init);
}

}  // namespace smx_examples
