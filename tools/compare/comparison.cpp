#include "tools/compare/comparison.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <optional>

#include "core/error.h"
#include "core/options/suggest.h"
#include "tools/compare/axes.h"
#include "train/config.h"

namespace fs = std::filesystem;

namespace monge::compare {
namespace {

constexpr std::int64_t first_report_seed = 101;

}  // namespace

void WorkloadOptions::fields(Fields& f) {
  f("config", config,
    {.doc = "recipe to train by; a relative path starts at the comparison's folder", .required = true});
  f("name", name, {.doc = "how the report calls it; empty: like the recipe's file"});
  f("target", target,
    {.doc = "validation loss whose time is measured; 0: the median final loss of the tuned baseline",
     .unit = "nats per token",
     .min = 0.0});
  f("target_excess", target_excess,
    {.doc = "the same as a distance from the loss of the best possible predictor; 0: not given",
     .unit = "nats per token",
     .min = 0.0});
}

void WorkloadOptions::check() const {
  if (target > 0.0 && target_excess > 0.0) throw KeyError("target_excess", "give target or target_excess, not both");
}

void TuneOptions::fields(Fields& f) {
  f("seeds", seeds, {.doc = "runs of each setting, from seed 1", .unit = "seeds", .min = 1, .max = 100});
  f("max_trials", max_trials,
    {.doc = "settings that a variant may try on a workload", .unit = "settings", .min = 1, .max = 1000});
}

void ReportOptions::fields(Fields& f) {
  f("seeds", seeds,
    {.doc = "runs of the tuned setting, from seed 101: others than the ones tuned on", .unit = "seeds", .min = 2});
  f("level", level,
    {.doc = "chance of any false difference, over all tests", .min = 0.0, .max = 0.5, .exclusive_min = true});
}

void ComparisonOptions::fields(Fields& f) {
  f("title", title, {.doc = "of the report"});
  f("description", description, {.doc = "what the report says first"});
  f("baseline", baseline, {.doc = "variant that the others are tested against", .required = true});
  f("workloads", workloads,
    {.doc = "recipes to train by; budgets are multiples of their train.steps", .required = true});
  f("base", base, {.doc = "settings laid over every recipe"});
  f("variants", variants,
    {.doc = "name: settings laid over recipe and base; a list for a key that takes one number is an axis to be swept",
     .required = true});
  f("budgets", budgets,
    {.doc = "lengths of the reported runs, rising; the warmup keeps its share", .unit = "x train.steps", .min = 0.001});
  f("tune", tune, {.doc = "how settings are found"});
  f("report", report, {.doc = "how the settings found are measured"});
  f("jobs", jobs, {.doc = "runs at a time; they share the processor's cores", .unit = "runs", .min = 1, .max = 1024});
}

void ComparisonOptions::check() const {
  if (workloads.empty()) throw KeyError("workloads", "give one at least");
  if (budgets.empty()) throw KeyError("budgets", "give one at least");
  if (std::ranges::adjacent_find(budgets, std::greater_equal{}) != budgets.end()) {
    throw KeyError("budgets", "they must rise");
  }
  if (base.kind != YamlNode::Kind::map && base.kind != YamlNode::Kind::null) {
    fail_at(base.place, "base", fmt::format("expected a map of settings, got {}", base.found()));
  }
  if (variants.kind != YamlNode::Kind::map || variants.entries.empty()) {
    fail_at(variants.place, "variants", fmt::format("expected a map from names to settings, got {}", variants.found()));
  }
  for (const YamlEntry& variant : variants.entries) {
    if (variant.value.kind == YamlNode::Kind::map || variant.value.kind == YamlNode::Kind::null) continue;
    fail_at(variant.value.place, "variants." + variant.key,
            fmt::format("expected a map of settings, got {}", variant.value.found()));
  }
  if (variants.find(baseline) == nullptr) {
    std::vector<std::string> names;
    for (const YamlEntry& variant : variants.entries) names.push_back(variant.key);
    throw KeyError("baseline", fmt::format("no variant is called '{}'; allowed: {}{}", baseline, fmt::join(names, ", "),
                                           did_you_mean(baseline, names)));
  }
}

Comparison::Comparison(const fs::path& file, std::int64_t cores) {
  read_yaml_layers({parse_yaml_file(file.string())}, options_);
  threads_ = std::max<std::int64_t>(1, cores / options_.jobs);
  std::ifstream in(file, std::ios::binary);
  text_.assign(std::istreambuf_iterator<char>(in), {});
  if (options_.title.empty()) options_.title = file.stem().string();
  read_workloads(file.parent_path());
  read_variants();
  try_configs();
}

void Comparison::read_workloads(const fs::path& folder) {
  for (WorkloadOptions& workload : options_.workloads) {
    const fs::path recipe = folder / workload.config;
    if (workload.name.empty()) workload.name = recipe.stem().string();
    const auto same = [&](const WorkloadOptions& other) { return other.name == workload.name; };
    if (std::ranges::count_if(options_.workloads, same) > 1) {
      throw InputError(fmt::format("workloads: two are called '{}'; give one another name", workload.name));
    }
    recipes_.push_back(parse_yaml_file(recipe.string()));
  }
}

void Comparison::read_variants() {
  for (const YamlEntry& variant : options_.variants.entries) {
    if (variant.key == options_.baseline) baseline_ = variants_.size();
    variants_.push_back({variant.key, variant.value, find_axes(variant.value)});
  }
}

void Comparison::try_configs() {
  for (std::size_t v = 0; v < variants(); ++v) {
    for (std::size_t w = 0; w < workloads(); ++w) {
      PlannedRun run{.variant = v, .workload = w, .seed = seeds(Stage::tune).front()};
      for (const Axis& axis : axes(v)) run.setting.push_back(axis.values.front());
      for (std::size_t a = 0; a < axes(v).size(); ++a) {
        for (const double value : axes(v)[a].values) {
          PlannedRun other = run;
          other.setting[a] = value;
          resolve(other);
        }
      }
      for (const double budget : options_.budgets) {
        run.budget = budget;
        resolve(run);
      }
    }
  }
}

std::vector<std::int64_t> Comparison::seeds(Stage stage) const {
  const bool tuning = stage == Stage::tune;
  std::vector<std::int64_t> seeds;
  for (std::int64_t i = 0; i < (tuning ? options_.tune.seeds : options_.report.seeds); ++i) {
    seeds.push_back((tuning ? 1 : first_report_seed) + i);
  }
  return seeds;
}

const RunConfig& Comparison::config(const PlannedRun& run) {
  const auto known = configs_.find(run);
  return known != configs_.end() ? known->second : configs_.emplace(run, resolve(run)).first->second;
}

bool Comparison::allowed(const PlannedRun& run) {
  try {
    config(run);
    return true;
  } catch (const InputError&) {
    return false;
  }
}

RunConfig Comparison::resolve(const PlannedRun& run) const {
  const NamedVariant& variant = variants_[run.variant];
  std::vector<YamlNode> layers{recipes_[run.workload]};
  if (options_.base.kind == YamlNode::Kind::map) layers.push_back(options_.base);
  if (variant.node.kind == YamlNode::Kind::map) {
    layers.push_back(at_setting(variant.node, variant.axes, run.setting));
  }
  train::Config recipe;
  read_yaml_layers(layers, recipe);

  const auto override_with = [&layers](const std::string& text) { layers.push_back(YamlOverride(text).root); };
  const auto times_budget = [&run](double steps) { return std::llround(steps * run.budget); };
  override_with(fmt::format("train.seed={}", run.seed));
  override_with(fmt::format("train.steps={}", std::max(1LL, times_budget(static_cast<double>(recipe.train.steps)))));
  const YamlNode schedule = parse_yaml(write_yaml(recipe.optimizer), "optimizer");
  if (const YamlNode* warmup = schedule.find("schedule")->find("warmup")) {
    override_with(fmt::format("optimizer.schedule.warmup={}", times_budget(std::stod(warmup->text))));
  }
  if (recipe.train.threads == 0) override_with(fmt::format("train.threads={}", threads_));
  // A run leaves its curve and its summary, no model.
  for (const char* text : {"train.checkpoint_every=0", "train.keep_checkpoints=1", "train.sample_tokens=0"}) {
    override_with(text);
  }
  train::Config config;
  read_yaml_layers(std::move(layers), config);
  return {write_yaml(config), config.train.steps};
}

}  // namespace monge::compare
