// SPDX-License-Identifier: Apache-2.0
/// \file  The names of a mixer's arguments, and whether an error says one.
#pragma once

#include <cctype>

#include <smx/testing/problem.hpp>

namespace smx::testing {

/// Names of the weights and of the inputs that are there.
template <class M> std::vector<std::string> weight_names(M const& m) {
  std::vector<std::string> names;
  m.for_each_weight([&](auto const& info) { names.emplace_back(info.name); });
  return names;
}
/// For each weight whether it is trained: a table has no gradient.
template <class M> std::vector<bool> trained_weights(M const& m) {
  std::vector<bool> trained;
  m.for_each_weight([&](auto const& info) { trained.push_back(info.trained); });
  return trained;
}
template <class M> std::vector<std::string> input_names(host_inputs<M> const& x) {
  std::vector<std::string> names;
  M::for_each_input(
      [&](char const* name, auto const& one) {
        if (one.size() > 0) names.emplace_back(name);
      },
      x);
  return names;
}

/// Every name that an error about an argument may give.
template <class M> std::vector<std::string> argument_names(problem<M> const& p) {
  std::vector<std::string> names{"y", "dy"};
  for (auto const& group : {weight_names(p.mixer), input_names<M>(p.x())})
    for (std::string const& name : group) names.push_back(name), names.push_back("d" + name);
  return names;
}

/// Whether what a precondition_error says before "expected" contains one of the names as a word.
inline bool names_one_of(std::string const& message, std::vector<std::string> const& names) {
  std::string const head = message.substr(0, message.find("expected"));
  auto const word = [&](std::size_t at) {
    return at < head.size() && (std::isalnum(static_cast<unsigned char>(head[at])) != 0 || head[at] == '_');
  };
  for (std::string const& name : names)
    for (std::size_t at = head.find(name); at != std::string::npos; at = head.find(name, at + 1))
      if ((at == 0 || !word(at - 1)) && !word(at + name.size())) return true;
  return false;
}

}  // namespace smx::testing
