#include "train/folder/run_summary.h"

#include <fmt/format.h>
#include <sched.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "train/folder/run_folder.h"

namespace monge::train {

bool has_own_cores(std::int64_t threads) {
  cpu_set_t set;
  if (std::getenv(shares_cores_variable) != nullptr || ::sched_getaffinity(0, sizeof(set), &set) != 0) return false;
  return CPU_COUNT(&set) == threads;
}

void write_summary(const RunSummary& s, const std::filesystem::path& file) {
  Json json;
  json["diverged"] = s.diverged;
  json["message"] = s.message;
  json["steps"] = s.steps;
  if (s.val_loss) json["val_loss"] = *s.val_loss;
  if (s.best_val_loss) {
    json["best_val_loss"] = *s.best_val_loss;
    json["best_step"] = s.best_step;
  }
  if (s.optimum) json["optimum"] = *s.optimum;
  if (s.val_accuracy) json["val_accuracy"] = *s.val_accuracy;
  if (s.val_exact_match) json["val_exact_match"] = *s.val_exact_match;
  json["vocab"] = s.vocab;
  json["parameters"] = s.parameters;
  json["state_bytes"] = s.state_bytes;
  json["passes_per_step"] = s.passes_per_step;
  json["initial_weights"] = s.initial_weights;
  json["batches"] = s.batches;
  json["data"] = s.data;
  json["device"] = s.device;
  json["own_cores"] = s.own_cores;
  write_text_file(file, json_text(json, 2) + "\n");
}

RunSummary read_summary(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  try {
    const auto json = parse_json(std::string(std::istreambuf_iterator<char>(in), {}));
    RunSummary s;
    json.at("diverged").get_to(s.diverged);
    json.at("message").get_to(s.message);
    json.at("steps").get_to(s.steps);
    if (json.contains("val_loss")) s.val_loss = json["val_loss"].get<double>();
    if (json.contains("best_val_loss")) {
      s.best_val_loss = json["best_val_loss"].get<double>();
      json.at("best_step").get_to(s.best_step);
    }
    if (json.contains("optimum")) s.optimum = json["optimum"].get<double>();
    if (json.contains("val_accuracy")) s.val_accuracy = json["val_accuracy"].get<double>();
    if (json.contains("val_exact_match")) s.val_exact_match = json["val_exact_match"].get<double>();
    json.at("vocab").get_to(s.vocab);
    json.at("parameters").get_to(s.parameters);
    json.at("state_bytes").get_to(s.state_bytes);
    json.at("passes_per_step").get_to(s.passes_per_step);
    s.initial_weights = json.value("initial_weights", "");  // not in summaries of before
    s.batches = json.value("batches", "");
    json.at("data").get_to(s.data);
    json.at("device").get_to(s.device);
    s.own_cores = json.value("own_cores", false);
    return s;
  } catch (const Json::exception& e) {
    throw InputError(fmt::format("'{}' is no summary of a run: {}", file.string(), e.what()));
  }
}

}  // namespace monge::train
