#include "train/checkpoint/checkpoint.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/options/yaml.h"
#include "core/safetensors.h"
#include "train/folder/run_folder.h"

namespace fs = std::filesystem;

namespace monge::train {
namespace {

constexpr int format_version = 1;
constexpr const char* model_file = "model.safetensors";
constexpr const char* optimizer_file = "optimizer.safetensors";
constexpr const char* state_file = "state.json";
constexpr const char* best_name = "best";
// The key that names the algorithm of the checksums; checkpoints of before XXH3 do not have it.
constexpr const char* algorithm_key = "checksums";
constexpr const char* xxh3 = "xxh3";

std::string directory_name(std::int64_t step) { return fmt::format("step_{:08}", step); }

/// Where a checkpoint is written before it appears under its name.
fs::path beside(const fs::path& checkpoints, const std::string& name) {
  return checkpoints / ("." + name + ".partial");
}

bool is_leftover(const fs::path& path) {
  return path.filename().string().starts_with(".") && path.extension() == ".partial";
}

/// The step of "step_00000300"; nothing for other names.
std::optional<std::int64_t> step_of(const fs::path& directory) {
  const std::string name = directory.filename().string();
  if (name.size() < 13 || name.size() > 23 || !name.starts_with("step_") ||
      !std::all_of(name.begin() + 5, name.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    return std::nullopt;
  }
  return std::stoll(name.substr(5));
}

/// The steps that have a checkpoint, ascending.
std::vector<std::int64_t> steps_in(const fs::path& checkpoints) {
  std::vector<std::int64_t> steps;
  std::error_code missing;
  for (const auto& entry : fs::directory_iterator(checkpoints, missing)) {
    const auto step = step_of(entry.path());
    if (step && !entry.is_symlink() && entry.is_directory()) steps.push_back(*step);
  }
  std::ranges::sort(steps);
  return steps;
}

/// The text of state.json: the object with its own checksum as last key.
std::string render(Json object, ChecksumAlgorithm algorithm) {
  // A config may hold text in any encoding, a path for one.
  object["checksum"] = checksum_text(checksum(json_text(object, 2), algorithm));
  return json_text(object, 2) + "\n";
}

template <class T>
Json optional_json(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

std::optional<double> optional_number(const Json& value) {
  return value.is_null() ? std::nullopt : std::optional(value.get<double>());
}

Json to_json(const CheckpointState& s, const std::string& model_checksum, const std::string& optimizer_checksum) {
  return {{"format", format_version},
          {"step", s.step},
          {"tokens", s.tokens},
          {"seconds", s.seconds},
          {"val_loss", optional_json(s.val_loss)},
          {"best_val_loss", optional_json(s.best_val_loss)},
          {"best_step", s.best_step},
          {"since_best", s.since_best},
          {"losses", s.record.losses},
          {"grad_norms", s.record.grad_norms},
          {"vocab", s.vocab},
          {"tokenizer", s.tokenizer},
          {"data", s.data},
          {"config", s.config},
          {algorithm_key, xxh3},
          {model_file, model_checksum},
          {optimizer_file, optimizer_checksum}};
}

void write_files(const fs::path& directory, const CheckpointState& state, const nn::ParameterStore& store,
                 const std::vector<NamedTensor>& optimizer) {
  std::vector<NamedTensor> model;
  for (const auto& entry : store.entries()) model.push_back({entry.name, store.value(entry)});
  write_safetensors(directory / model_file, model);
  write_safetensors(directory / optimizer_file, optimizer);
  const auto sum = [&](const char* file) { return checksum_text(file_checksum(directory / file)); };
  write_text_file(directory / state_file,
                  render(to_json(state, sum(model_file), sum(optimizer_file)), ChecksumAlgorithm::xxh3));
  flush_directory(directory);
}

}  // namespace

void write_checkpoint(const fs::path& checkpoints, const CheckpointState& state, const nn::ParameterStore& store,
                      const std::vector<NamedTensor>& optimizer) {
  const fs::path target = checkpoints / directory_name(state.step);
  const fs::path partial = beside(checkpoints, directory_name(state.step));
  try {
    fs::remove_all(partial);
    fs::create_directories(partial);
    write_files(partial, state, store, optimizer);
    fs::remove_all(target);  // there is one when a run was resumed from an older checkpoint
    fs::rename(partial, target);
    flush_directory(checkpoints);
  } catch (const std::exception& e) {
    std::error_code ignored;
    fs::remove_all(partial, ignored);
    throw RunError(
        fmt::format("the checkpoint of step {} was not written: {}. Older checkpoints are as they were; free "
                    "some space and continue with --resume",
                    state.step, e.what()));
  }
}

void prune_checkpoints(const fs::path& checkpoints, std::int64_t keep, std::int64_t best_step) try {
  for (const auto& entry : fs::directory_iterator(checkpoints)) {
    if (is_leftover(entry.path())) fs::remove_all(entry.path());
  }
  const std::vector<std::int64_t> steps = steps_in(checkpoints);
  const std::size_t surplus = steps.size() - std::min(steps.size(), static_cast<std::size_t>(keep));
  for (std::size_t i = 0; i < surplus; ++i) {
    if (steps[i] != best_step) fs::remove_all(checkpoints / directory_name(steps[i]));
  }
  const fs::path best = checkpoints / best_name;
  if (!std::ranges::binary_search(steps, best_step)) {
    if (fs::is_symlink(best) && !fs::exists(best)) fs::remove(best);
    return;
  }
  const fs::path link = beside(checkpoints, best_name);
  fs::create_directory_symlink(directory_name(best_step), link);
  fs::rename(link, best);
} catch (const fs::filesystem_error& e) {
  throw RunError(
      fmt::format("the checkpoint was written, but those of before could not be put in order: {}", e.what()));
}

Checkpoint::Checkpoint(fs::path directory) : directory_(std::move(directory)) {
  const fs::path file = directory_ / state_file;
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    throw InputError(fmt::format("'{}' is not a checkpoint: it has no readable {}", directory_.string(), state_file));
  }
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  Json object = parse_json(text);
  const auto damaged = [&](std::string_view why) {
    throw InputError(
        fmt::format("checkpoint '{}' is damaged: {} {}; remove the directory to continue from an older one",
                    directory_.string(), state_file, why));
  };
  if (!object.is_object()) damaged("is not whole");
  if (const auto named = object.find(algorithm_key); named == object.end()) {
    algorithm_ = ChecksumAlgorithm::multiply_xor;
  } else if (*named != xxh3) {
    throw InputError(
        fmt::format("checkpoint '{}' has checksums that this program does not know, {} in {}; read it with the version "
                    "of Monge that "
                    "wrote it, or a newer one",
                    directory_.string(), named->dump(), state_file));
  }
  object.erase("checksum");
  if (render(object, algorithm_) != text) damaged("is not as it was written");
  try {
    if (const int version = object.at("format").get<int>(); version != format_version) {
      throw InputError(fmt::format("checkpoint '{}' has format {}, this program reads {}", directory_.string(), version,
                                   format_version));
    }
    state_.step = object.at("step").get<std::int64_t>();
    state_.tokens = object.at("tokens").get<std::int64_t>();
    state_.seconds = object.at("seconds").get<double>();
    state_.val_loss = optional_number(object.at("val_loss"));
    state_.best_val_loss = optional_number(object.at("best_val_loss"));
    state_.best_step = object.at("best_step").get<std::int64_t>();
    state_.since_best = object.value("since_best", std::int64_t{0});  // not in checkpoints of before it was counted
    state_.record.losses = object.at("losses").get<std::vector<double>>();
    state_.record.grad_norms = object.at("grad_norms").get<std::vector<double>>();
    state_.vocab = object.at("vocab").get<std::int64_t>();
    state_.tokenizer = object.at("tokenizer").get<std::string>();
    state_.data = object.value("data", "");
    state_.config = object.at("config").get<std::string>();
    model_checksum_ = object.at(model_file).get<std::string>();
    optimizer_checksum_ = object.at(optimizer_file).get<std::string>();
  } catch (const Json::exception& e) {
    damaged(fmt::format("lacks what a checkpoint has ({})", e.what()));
  }
}

Config Checkpoint::config(const std::vector<std::string>& overrides) const {
  Config config;
  read_yaml_text(state_.config, (directory_ / state_file).string(), overrides, config);
  return config;
}

void Checkpoint::verify(const std::string& file) const {
  const std::string& expected = file == model_file ? model_checksum_ : optimizer_checksum_;
  if (!fs::is_regular_file(directory_ / file)) {
    throw InputError(
        fmt::format("checkpoint '{}' is damaged: {} is missing; remove the directory to continue from an "
                    "older one",
                    directory_.string(), file));
  }
  if (checksum_text(file_checksum(directory_ / file, algorithm_)) != expected) {
    throw InputError(
        fmt::format("checkpoint '{}' is damaged: {} is not as it was written (truncated, foreign or "
                    "changed); remove the directory to continue from an older one",
                    directory_.string(), file));
  }
}

void Checkpoint::verify() const {
  verify(model_file);
  verify(optimizer_file);
}

void Checkpoint::restore(nn::ParameterStore& store) const {
  verify(model_file);
  const SafeTensors file(directory_ / model_file);
  for (const auto& [name, entry] : file.entries()) {
    if (std::ranges::find(store.entries(), name, &nn::ParameterStore::Entry::name) == store.entries().end()) {
      throw InputError(
          fmt::format("'{}' holds a parameter '{}' that the model does not have", file.file().string(), name));
    }
  }
  for (const auto& entry : store.entries()) file.read(entry.name, store.value(entry));
  store.refresh_copies();
}

void Checkpoint::restore(optim::Optimizer& optimizer) const {
  verify(optimizer_file);
  const SafeTensors file(directory_ / optimizer_file);
  const std::vector<NamedTensor> state = optimizer.state();
  const auto refuse = [&](const std::string& name, const char* who) {
    throw InputError(fmt::format(
        "checkpoint '{}' was written by an optimizer with other state: {} '{}'. What keeps state (the rule, "
        "its base, the chain, the update of attention) cannot change within a run; restore these keys of "
        "optimizer, or start a new run",
        directory_.string(), who, name));
  };
  for (const auto& [name, entry] : file.entries()) {
    if (std::ranges::find(state, name, &NamedTensor::name) == state.end()) refuse(name, "only the checkpoint has");
  }
  for (const auto& [name, tensor] : state) {
    if (!file.entries().contains(name)) refuse(name, "it lacks");
  }
  for (const auto& [name, tensor] : state) file.read(name, tensor);
}

std::optional<fs::path> newest_checkpoint(const fs::path& checkpoints) {
  const std::vector<std::int64_t> steps = steps_in(checkpoints);
  if (steps.empty()) return std::nullopt;
  return checkpoints / directory_name(steps.back());
}

std::vector<fs::path> kept_checkpoints(const fs::path& run_or_checkpoint) {
  const fs::path newest = find_checkpoint(run_or_checkpoint), checkpoints = run_or_checkpoint / "checkpoints";
  if (newest.parent_path() != checkpoints) return {newest};
  std::vector<fs::path> out;
  for (const std::int64_t step : steps_in(checkpoints)) out.push_back(checkpoints / directory_name(step));
  return out;
}

fs::path find_checkpoint(const fs::path& run_or_checkpoint, Which which) {
  std::error_code error;
  if (!fs::is_directory(run_or_checkpoint, error)) {
    std::vector<std::string> kept;
    for (const std::int64_t step : steps_in(run_or_checkpoint.parent_path())) kept.push_back(directory_name(step));
    throw InputError(fmt::format("'{}' {}; give a run folder or one of its checkpoints{}", run_or_checkpoint.string(),
                                 fs::exists(run_or_checkpoint, error) ? "is not a folder" : "does not exist",
                                 kept.empty() ? "" : fmt::format(" (kept are {})", fmt::join(kept, ", "))));
  }
  const fs::path checkpoints = run_or_checkpoint / "checkpoints";
  if (which == Which::best) {
    const fs::path best = checkpoints / best_name;
    if (fs::exists(best, error)) return fs::is_symlink(best, error) ? checkpoints / fs::read_symlink(best) : best;
    throw InputError(fmt::format(
        "--best: '{}' is no run folder, or none of its checkpoints has a validation loss; give a run folder, "
        "or one checkpoint without --best",
        run_or_checkpoint.string()));
  }
  if (fs::exists(run_or_checkpoint / state_file, error)) return run_or_checkpoint;
  if (const auto newest = newest_checkpoint(checkpoints)) return *newest;
  if (step_of(run_or_checkpoint))
    return run_or_checkpoint;  // a checkpoint without its state.json: let opening it say so
  throw InputError(
      fmt::format("'{}' holds no checkpoint; give a run folder or one of its checkpoints", run_or_checkpoint.string()));
}

}  // namespace monge::train
