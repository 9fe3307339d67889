// SPDX-License-Identifier: Apache-2.0
/// \file  Streaming states in files: a conversation that goes on after a restart, a prompt that is read once.
///
/// The file is safetensors: the arrays, and the counters as scalars of type I64; metadata format "smx.state",
/// version "2", mixer: the name in its traits. What a convolution has prepared depends on the backend and its
/// instruction set; such a file is refused by another one. A file is not trusted: the sizes that its counters
/// ask for are held against those of its arrays before any memory is taken.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include <smx/backend/plan.hpp>
#include <smx/io/safetensors.hpp>
#include <smx/io/safetensors_writer.hpp>
#include <smx/mixers/state.hpp>

namespace smx {

namespace detail {

inline constexpr char const *state_format = "smx.state", *state_version = "2";

/// One state in one open file.
template <class S> class state_reader {
 public:
  explicit state_reader(std::string const& path) : file_(path) {}

  void check_metadata(std::string const& mixer) const {
    expect("format", state_format);
    expect("version", state_version);
    expect("mixer", mixer);
  }
  index_t counter(char const* name) const {
    if (file_.at(name).dtype != stored_dtype::i64) refuse(name, "type I64", name_of(file_.at(name).dtype));
    if (!file_.at(name).shape.empty()) refuse(name, "a scalar", "an array");
    return file_.read<std::int64_t>(name).front();
  }
  /// The counters, none negative; nothing but the parts of S may be in the file.
  S counters() const {
    S s;
    std::size_t parts = 0;
    S::for_each_counter(
        [&](char const* name, index_t& to) {
          ++parts;
          to = counter(name);
          if (to < 0) refuse(name, "a number that is not negative", std::to_string(to));
        },
        s);
    S::for_each_array([&](char const*, auto&) { ++parts; }, s);
    if (parts != file_.names().size())
      refuse("tensors", std::to_string(parts) + " of them", std::to_string(file_.names().size()));
    if (s.capacity < 1) refuse("capacity", "at least 1", std::to_string(s.capacity));
    return s;
  }
  /// Throws unless the arrays of the file have the types and extents of those of `made`.
  template <class Made> void expect_arrays_of(Made const& made) const {
    Made::for_each_array(
        [&](char const* name, auto const& to) {
          using value = typename std::remove_cvref_t<decltype(to)>::value_type;
          auto const& found = file_.at(name);
          if (found.dtype != stored_dtype_of<value>())
            refuse(name, std::string("type ") + name_of(stored_dtype_of<value>()), name_of(found.dtype));
          auto const& want = to.extents();
          bool same = found.shape.size() == static_cast<std::size_t>(want.rank());
          for (int r = 0; same && r < want.rank(); ++r)
            same = found.shape[static_cast<std::size_t>(r)] == want[r];
          if (!same) refuse(name, "the extents of such a state", "others");
        },
        made);
  }
  void read_arrays(S& s) const {
    S::for_each_array([&](char const* name, auto& to) { file_.read(name, to.view()); }, s);
  }
  [[noreturn]] void refuse(std::string const& what, std::string const& expected,
                           std::string const& got) const {
    raise<file_error>(file_.path(), what + ": expected " + expected + ", got " + got);
  }

 private:
  void expect(char const* key, std::string const& value) const {
    auto const it = file_.metadata().find(key);
    if (it == file_.metadata().end())
      refuse(key, "'" + value + "' in the metadata", "none: not a state of smx");
    if (it->second != value) refuse(key, "'" + value + "'", "'" + it->second + "'");
  }
  safetensors_file file_;
};

/// What make_state would give, without memory: from extents alone, by a planner for what backend B runs.
template <class B, class M>
auto planned_state(M const& m, weights_in<M, B> const& w, inputs_in<M, B> const& x, index_t capacity) {
  using plan = plan_backend<typename target_of<B>::type>;
  weights_in<M, plan> weights;
  inputs_in<M, plan> inputs;
  auto const shape = [](auto const& from, auto& to) {
    if (from.size() != 0) to = {nullptr, from.ext};
  };
  m.for_each_weight([&](auto const&, auto const& from, auto& to) { shape(from, to); }, w, weights);
  M::for_each_input([&](char const*, auto const& from, auto& to) { shape(from, to); }, x, inputs);
  plan be;
  auto frame = be.scope();
  return m.make_state(be, weights, inputs, capacity);
}

}  // namespace detail

/// Writes the state of mixer m to `path`: the old file or the complete new one stays, never a part. Throws
/// file_error.
template <MixerValue M, VisitableState S> void save_state(std::string const& path, M const&, S const& s) {
  safetensors_writer file;
  file.set_metadata("format", detail::state_format);
  file.set_metadata("version", detail::state_version);
  file.set_metadata("mixer", std::string(M::about.name));
  S::for_each_array([&](char const* name, auto const& one) { file.add(name, one.cview()); }, s);
  S::for_each_counter([&](char const* name, index_t const& n) { file.add(name, n); }, s);
  file.write(path);
}

/// The state that save_state wrote; x gives batch, heads and dim, as for make_state. Throws file_error, which
/// names the file, for a file that is damaged, or of another mixer, element type, version, shape or layout.
template <MixerValue M, class B>
requires HasState<M, B> state_of<M, B> load_state(std::string const& path, B& be, M const& m,
                                                  std::type_identity_t<weights_in<M, B>> const& w,
                                                  std::type_identity_t<inputs_in<M, B>> const& x) {
  using state = state_of<M, B>;
  detail::state_reader<state> const file(path);
  file.check_metadata(std::string(M::about.name));
  state const read = file.counters();
  detail::planned_state<B>(m, w, x, 1);  // what is wrong with w and x is not the file's fault
  try {
    auto const like = detail::planned_state<B>(m, w, x, read.capacity);
    expects_value(read.capacity == like.capacity, "state: capacity", "one that this mixer can have",
                  read.capacity);
    if constexpr (requires { like.expect_counters(read); })
      like.expect_counters(read);
    else
      expects_value(read.tokens() <= read.capacity, "state: tokens", "no more than its capacity",
                    read.tokens());
    file.expect_arrays_of(like);
  } catch (precondition_error const& e) {
    file.refuse("state", "one of this mixer on this backend", e.what());
  }
  state s = m.make_state(be, w, x, read.capacity);
  file.read_arrays(s);
  detail::copy_counters(read, s);
  return s;
}

}  // namespace smx
