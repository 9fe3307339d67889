// SPDX-License-Identifier: Apache-2.0
/// \file  Laws of bad input: every wrong extent throws, names its argument, and nothing is written.
#pragma once

#include <algorithm>

#include <smx/testing/names.hpp>
#include <smx/testing/problem.hpp>

namespace smx::testing {

/// A view and memory for any of its extents to be one larger, so that a missing check is a failure here and
/// not a fault.
template <class T, int R> struct roomy {
  std::vector<T> cells;
  view<T, R, host_space> v;

  roomy() = default;
  explicit roomy(extents<R> const& e) {
    index_t size = 1;
    for (int r = 0; r < R; ++r) size *= e[r] + 1;
    cells.assign(static_cast<std::size_t>(2 * size), T(0.25));
    v = {cells.data(), e};
  }
};
struct roomy_in {
  template <class T, int R> using array = roomy<T, R>;
};

/// The arguments of one training run, with room.
template <class M> struct bad_call {
  using T = typename M::scalar;
  typename M::template inputs<roomy_in> x_cells, dx_cells;
  typename M::template weights<roomy_in> w_cells, dw_cells;
  roomy<T, 4> y_cells, dy_cells;

  typename M::template inputs<reads_in<host_space>> x;
  typename M::template inputs<writes_in<host_space>> dx;
  typename M::template weights<reads_in<host_space>> w;
  typename M::template weights<writes_in<host_space>> dw;
  view<T, 4, host_space> y;
  view<T const, 4, host_space> dy;

  explicit bad_call(problem<M> const& p) : y_cells(p.output), dy_cells(p.output) {
    M::for_each_input(
        [](char const*, auto const& from, auto& a, auto& b, auto& read, auto& write) {
          if (from.size() == 0) return;
          a = roomy<T, 4>(from.ext), b = roomy<T, 4>(from.ext);
          read = a.v, write = b.v;
        },
        p.x(), x_cells, dx_cells, x, dx);
    p.mixer.for_each_weight(
        [](auto const& info, auto& a, auto& b, auto& read, auto& write) {
          constexpr int R = std::remove_cvref_t<decltype(info.ext)>::rank();
          a = roomy<T, R>(info.ext), b = roomy<T, R>(info.ext);
          read = a.v, write = b.v;
        },
        w_cells, dw_cells, w, dw);
    y = y_cells.v;
    dy = dy_cells.v;
  }
  numbers outputs(M const& m) const {
    numbers all(y_cells.cells.begin(), y_cells.cells.end());
    auto const append = [&](auto const& c) { all.insert(all.end(), c.cells.begin(), c.cells.end()); };
    M::for_each_input([&](char const*, auto const& c) { append(c); }, dx_cells);
    m.for_each_weight([&](auto const&, auto const& c) { append(c); }, dw_cells);
    return all;
  }
};

}  // namespace smx::testing

namespace smx::testing::laws {

/// Each extent of each input, weight, output and gradient, made one larger, one smaller, 0 and -1: throws
/// precondition_error that names the argument (for an input: it or the array that it no longer fits), before
/// anything is written.
template <HasCases M> verdict bad_extents_throw(runner<M> const& be, problem<M> const& p) {
  bad_call<M> call(p);
  std::vector<std::string> const inputs = input_names<M>(p.x());
  numbers const untouched = call.outputs(p.mixer);
  verdict bad;

  auto const expect_throw = [&](std::string const& what, std::vector<std::string> const& names,
                                auto const& run) {
    if (bad) return;
    try {
      run();
      bad = text("%s: did not throw", what.c_str());
    } catch (precondition_error const& e) {
      if (!names_one_of(e.what(), names))
        bad = text("%s: the message does not name %s: %s", what.c_str(), names[0].c_str(), e.what());
    }
  };
  auto const expect_untouched = [&](std::string const& what) {
    if (!bad) bad = in_context(what, identical("outputs after a throw", call.outputs(p.mixer), untouched));
  };
  // v: the view inside `call` that is spoiled
  auto const spoil = [&](std::string const& name, std::vector<std::string> const& names, auto& v,
                         auto const& run) {
    auto const good = v;
    for (int axis = 0; axis < std::remove_reference_t<decltype(v)>::rank; ++axis)
      for (index_t n : {good.ext[axis] + 1, good.ext[axis] - 1, index_t{0}, index_t{-1}}) {
        v.ext[axis] = n;
        expect_throw(text("%s with extent %lld instead of %lld on axis %d", name.c_str(),
                          static_cast<long long>(n), static_cast<long long>(good.ext[axis]), axis),
                     names, run);
        v = good;
      }
  };
  auto const spoil_forward = [&](std::string const& name, std::vector<std::string> const& names, auto& v) {
    spoil(name, names, v, [&] { be.forward(p.mixer, call.w, call.x, call.y); });
    expect_untouched(name);
  };
  auto const fits = [&](std::string const& own, std::initializer_list<char const*> others) {
    std::vector<std::string> names{own};
    names.insert(names.end(), inputs.begin(), inputs.end());
    names.insert(names.end(), others.begin(), others.end());
    return names;
  };
  M::for_each_input(
      [&](char const* name, auto& v) {
        if (v.size() > 0) spoil_forward(name, fits(name, {"y"}), v);
      },
      call.x);
  p.mixer.for_each_weight(
      [&](auto const& info, auto& v) { spoil_forward(std::string("forward: ") + info.name, {info.name}, v); },
      call.w);
  spoil_forward("y", {"y"}, call.y);
  if (bad) return bad;

  bad_call<M> const good(p);  // whose tape backward is given
  auto const spoil_backward = [&](std::string const& name, std::vector<std::string> const& names, auto& v) {
    be.on_tape_of(p.mixer, good.w, good.x, good.y, call.w, call.x, call.dy, call.dw, call.dx,
                  [&](auto const& backward) { spoil(name, names, v, backward); });
    expect_untouched(name);
  };
  M::for_each_input(
      [&](char const* name, auto& v, auto& dv) {
        if (v.size() == 0) return;
        std::string const gradient = std::string("d") + name;
        spoil_backward(std::string("backward: ") + name, fits(name, {"dy", gradient.c_str(), "tape"}), v);
        spoil_backward(gradient, {gradient}, dv);
      },
      call.x, call.dx);
  p.mixer.for_each_weight(
      [&](auto const& info, auto& v, auto& dv) {
        spoil_backward(std::string("backward: ") + info.name, {info.name}, v);
        if (info.trained) spoil_backward(std::string("d") + info.name, {std::string("d") + info.name}, dv);
      },
      call.w, call.dw);
  spoil_backward("dy", {"dy"}, call.dy);
  return bad;
}

/// An output in the memory of an argument that is read: throws and names it, or gives the right result.
/// y on each input, each input's gradient on dy and on the input.
template <HasCases M> verdict overlaps_throw(runner<M> const& be, problem<M> const& p) {
  using T = typename M::scalar;
  expectation const& want = expected(p);
  training_values const trained = train(be, p);
  gradient_values const& allowed = gradient_tolerances(p);
  auto const output_size = static_cast<std::size_t>(p.upstream.size());
  std::vector<std::string> const names = input_names<M>(p.x());

  for (std::size_t k = 0; k < p.ext.size(); ++k) {
    auto const size = static_cast<std::size_t>(checked_size(p.ext[k]));
    std::vector<T> memory(std::max(size, output_size));
    auto const place = [&] {  // input k moves into `memory`
      auto x = p.x();
      std::size_t next = 0;
      M::for_each_input(
          [&](char const*, auto& one) {
            if (one.size() == 0 || next++ != k) return;
            view<T, 4, host_space> const to(memory.data(), one.ext);
            copy_entries(one, to);
            one = to;
          },
          x);
      return x;
    };
    try {
      view<T, 4, host_space> const y(memory.data(), p.output);
      be.forward(p.mixer, p.w(), place(), y);
      if (auto bad = within("y in the memory of an input", values(y), want.y, want.tolerance)) return bad;
    } catch (precondition_error const& e) {
      if (!names_one_of(e.what(), {"y"})) return text("y in the memory of an input: %s", e.what());
    }

    for (bool on_dy : {true, false}) {
      char const* const what = on_dy ? "dx in the memory of dy" : "dx in the memory of x";
      gradient_memory<M> g(p.mixer, p.x());
      tensor<T, 4> y(p.output);
      auto const x = on_dy ? p.x() : place();
      auto dy = p.dy();
      if (on_dy) {
        view<T, 4, host_space> const moved(memory.data(), p.output);
        copy_entries(dy, moved);
        dy = moved;
      }
      std::size_t next = 0;
      M::for_each_input(
          [&](char const*, auto& one) {
            if (one.size() > 0 && next++ == k) one.ptr = memory.data();
          },
          g.dx);
      try {
        be.train(p.mixer, p.w(), x, dy, y.view(), g.dw.write(), g.dx);
        gradient_values const got = g.read(p.mixer);
        for (std::size_t i = 0; i < got.dw.size(); ++i)
          if (auto bad = within(what, got.dw[i], trained.g.dw[i], scaled(allowed.dw[i], 2))) return bad;
        for (std::size_t i = 0; i < got.dx.size(); ++i)
          if (auto bad = within(what, got.dx[i], trained.g.dx[i], scaled(allowed.dx[i], 2))) return bad;
      } catch (precondition_error const& e) {
        if (!names_one_of(e.what(), {"d" + names[k]})) return text("%s: %s", what, e.what());
      }
    }
  }
  return holds;
}

/// backward with a tape that recorded nothing throws and names it; mixers that need no tape give the right
/// gradients.
template <HasCases M> verdict empty_tape_throws(runner<M> const& be, problem<M> const& p) {
  gradient_memory<M> g(p.mixer, p.x());
  gradient_values const want = train(be, p).g;
  try {
    be.backward_without_tape(p.mixer, p.w(), p.x(), p.dy(), g.dw.write(), g.dx);
  } catch (precondition_error const& e) {
    return names_one_of(e.what(), {"tape"}) ? holds : verdict(text("an empty tape: %s", e.what()));
  }
  gradient_values const got = g.read(p.mixer);
  for (std::size_t i = 0; i < got.dw.size(); ++i)
    if (auto bad = identical("weight gradient without a tape", got.dw[i], want.dw[i])) return bad;
  for (std::size_t i = 0; i < got.dx.size(); ++i)
    if (auto bad = identical("input gradient without a tape", got.dx[i], want.dx[i])) return bad;
  return holds;
}

}  // namespace smx::testing::laws
