// SPDX-License-Identifier: Apache-2.0
#include <filesystem>

#include <tests/catch.hpp>
#include <tests/examples/training/toy.hpp>
#include <tests/io/temporary_folder.hpp>

using smx::file_error;
using smx_examples::config_differences;
using smx_examples::resume_checkpoint;
using smx_examples::save_checkpoint;
using smx_examples::tensor_reader;

namespace {

template <class T, int R> smx::tensor<T, R> zeros(smx::extents<R> const& e) { return smx::tensor<T, R>(e); }

/// What happens when a checkpoint is resumed from `path`: the message, or "".
std::string resume_error(std::string const& path, nlohmann::json const& config = test::toy{}.config(),
                         std::vector<std::string> const& except = {}) {
  smx::cpu be(1);
  test::toy const m;
  test::toy_run run(be, m), untouched(be, m);
  try {
    resume_checkpoint(path, config, except, m, run.w, run.s);
    return "";
  } catch (file_error const& e) {
    CHECK(test::same_bits(run.w, untouched.w));  // nothing was written
    CHECK(test::same_bits(run.s.first, untouched.s.first));
    CHECK(run.s.steps == 0);
    return e.what();
  }
}

/// A checkpoint of the toy, and files made from it.
struct saved_toy {
  test::temporary_folder folder;
  std::string path = folder / "run.safetensors";
  saved_toy() {
    smx::cpu be(1);
    test::toy const m;
    test::toy_run run(be, m);
    run.train_step(be);
    save_checkpoint(path, run.state(), m, run.w, run.s);
  }
  /// Another file: the checkpoint's tensors but for those that `change` adds itself and says so.
  template <class F> std::string with(F const& change, bool metadata = true) const {
    smx::safetensors_file const from(path);
    smx::safetensors_writer to;
    if (metadata)
      for (auto const& [key, value] : from.metadata()) to.set_metadata(key, value);
    for (auto const& name : from.names()) {
      if (change(name, to)) continue;
      auto const& shape = from.at(name).shape;
      if (shape.empty()) {
        to.add(name, from.read<std::int64_t>(name).front());
      } else {
        auto const values = from.read<float>(name);
        if (shape.size() == 1)
          to.add(name, smx::view<float const, 1, smx::host_space>(values.data(), {shape[0]}));
        else
          to.add(name, smx::view<float const, 2, smx::host_space>(values.data(), {shape[0], shape[1]}));
      }
    }
    std::string const other = folder / "other.safetensors";
    to.write(other);
    return other;
  }
};

}  // namespace

TEST_CASE("checkpoint: every tensor that does not fit is named", "[training]") {
  saved_toy const toy;
  CHECK(resume_error(toy.path).empty());
  std::string const path = toy.with([](std::string const& name, smx::safetensors_writer& to) {
    if (name == "output.bias" || name == "optimizer.second.output.bias" || name == "optimizer.steps")
      return true;
    if (name == "table.weight") return to.add(name, zeros<float>(smx::extents<2>{8, 17}).cview()), true;
    if (name == "output.weight") return to.add(name, zeros<double>(smx::extents<2>{17, 8}).cview()), true;
    if (name == "optimizer.first.table.weight")
      return to.add(name, 1.0f), to.add("stray", zeros<float>(smx::extents<1>{3}).cview()), true;
    return false;
  });
  CHECK(resume_error(path) == path +
                                  ": 7 tensors do not fit:"
                                  "\n  'table.weight': expected extents (17, 8), got (8, 17)"
                                  "\n  'output.weight': expected type F32, got F64"
                                  "\n  'output.bias': missing (F32 of extents (17))"
                                  "\n  'optimizer.first.table.weight': expected extents (17, 8), got ()"
                                  "\n  'optimizer.second.output.bias': missing (F32 of extents (17))"
                                  "\n  'optimizer.steps': missing (I64 of extents ())"
                                  "\n  'stray': unknown (F32 of extents (3))");
}

TEST_CASE("weights: unknown tensors are listed, types converted where asked", "[training]") {
  saved_toy const toy;
  std::string const path = toy.with(
      [](std::string const& name, smx::safetensors_writer& to) {
        if (name == "output.weight") {
          auto one = zeros<smx::bf16>(smx::extents<2>{17, 8});
          one(2, 3) = smx::bf16(1.5f);
          to.add(name, one.cview());
          to.add("extra", 1.0f);
          return true;
        }
        return name.starts_with("optimizer.") || name.starts_with("state.");
      },
      false);
  smx::cpu be(1);
  test::toy const m;
  test::toy_parameters w(be, m);
  tensor_reader file(path);
  CHECK(!file.is_checkpoint());
  file.want("", m, w);
  CHECK_THROWS_WITH(file.read(),
                    test::contains("1 tensor does not fit:\n  'output.weight': expected type F32, got BF16"));
  CHECK(w.read().table(0, 0) == 0);
  CHECK_THROWS_WITH(file.read({.unknown_is_error = true, .convert = true}),
                    test::contains("'extra': unknown (F32 of extents ())"));
  CHECK(file.read({.convert = true}) == std::vector<std::string>{"extra"});
  CHECK(w.read().output(2, 3) == 1.5f);
  CHECK(w.read().table(0, 0) != 0);
  CHECK_THROWS_WITH(file.run(), test::contains("expected a checkpoint"));

  tensor_reader prefixed(path);
  prefixed.want("bert.", m, w);
  CHECK_THROWS_WITH(prefixed.read(), test::contains("'bert.table.weight': missing"));
}

TEST_CASE("checkpoint: differences of the config are listed one by one", "[training]") {
  saved_toy const toy;
  auto config = test::toy{}.config();
  config["model"]["channels"] = 16;
  config["seed"] = nullptr;
  config["mixer"] = "m2";
  CHECK(resume_error(toy.path, config) == toy.path +
                                              ": the checkpoint is of another config:"
                                              "\n  mixer: not there in the checkpoint, \"m2\" now"
                                              "\n  model.channels: 8 in the checkpoint, 16 now"
                                              "\n  seed: 5 in the checkpoint, null now");
  CHECK(resume_error(toy.path, config, {"mixer", "model.channels", "seed"}).empty());
  CHECK(config_differences({{"a", {1, 2}}, {"b", nlohmann::json::object()}}, {{"a", {1, 3}}}) ==
        std::vector<std::string>{"a: [1,2] in the checkpoint, [1,3] now",
                                 "b: {} in the checkpoint, not there now"});
  CHECK(config_differences(config, config).empty());
}

TEST_CASE("checkpoint: damaged files and other files are refused", "[training]") {
  saved_toy const toy;
  std::string const whole = test::read_file(toy.path), bad = toy.folder / "bad";
  for (std::size_t size = 0; size < whole.size(); size += size < 40 ? 1 : 61) {
    test::write_file(bad, whole.substr(0, size));
    INFO(size);
    CHECK(resume_error(bad).starts_with(bad + ": "));
  }
  test::write_file(bad, whole + 'x');
  CHECK(resume_error(bad).starts_with(bad + ": "));
  CHECK(resume_error(toy.folder / "nowhere") ==
        toy.folder / "nowhere" + ": cannot open for reading: No such file or directory");
  std::filesystem::create_directory(toy.folder / "folder");
  CHECK(resume_error(toy.folder / "folder") == toy.folder / "folder" + ": expected a file, got a directory");

  auto const keep = [](std::string const&, smx::safetensors_writer&) { return false; };
  CHECK(resume_error(toy.with(keep, false)).ends_with("got another safetensors file"));
  auto const metadata = [&](char const* key, char const* value) {
    return resume_error(toy.with([&](std::string const&, smx::safetensors_writer& to) {
      to.set_metadata(key, value);
      return false;
    }));
  };
  CHECK(metadata("version", "2").ends_with("metadata 'version': expected '1', got '2'"));
  CHECK(metadata("config", "[1]").ends_with("metadata 'config': expected a JSON object"));
  CHECK(metadata("config", "{").ends_with("metadata 'config': expected a JSON object"));
  CHECK(resume_error(toy.with([](std::string const& name, smx::safetensors_writer& to) {
          if (name == "state.step") to.add(name, 1.5);
          return name == "state.step";
        })).ends_with("tensor 'state.step': expected a scalar of type I64, got F64 of extents ()"));
  CHECK_THROWS_AS(smx_examples::checkpoint_writer({nlohmann::json(3), {}}), smx::precondition_error);
}
