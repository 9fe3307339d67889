// SPDX-License-Identifier: Apache-2.0
#include <examples/gpt/options.hpp>

#include <smx/io/file_error.hpp>

namespace smx_examples {

namespace {

/// f(name, member) for each.
template <class C, class F> void each_member(C& c, F const& f) {
  f("mixer", c.mixer);
  f("vocabulary", c.vocabulary);
  f("channels", c.channels);
  f("depth", c.depth);
  f("length", c.length);
  f("max_length", c.max_length);
  f("inner", c.inner);
  f("heads", c.heads);
  f("state", c.state);
  f("residual", c.residual);
  f("positions", c.positions);
}

}  // namespace

nlohmann::json to_json(model_config const& c) {
  nlohmann::json to;
  each_member(c, [&](char const* name, auto const& value) { to[name] = value; });
  return to;
}

model_config read_model_config(nlohmann::json const& from, std::string const& file) {
  model_config c;
  each_member(c, [&](char const* name, auto& value) {
    using member = std::remove_reference_t<decltype(value)>;
    auto const it = from.find(name);
    bool const fits = it != from.end() && (std::is_same_v<member, bool>          ? it->is_boolean()
                                           : std::is_same_v<member, std::string> ? it->is_string()
                                                                                 : it->is_number_integer());
    if (!fits)
      throw smx::file_error(file, std::string("config: 'model.") + name + "' is missing or of another type");
    value = it->template get<member>();
  });
  return c;
}

}  // namespace smx_examples
