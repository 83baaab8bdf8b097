#include "tools/compare/search/comparison.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <iterator>
#include <memory>
#include <numeric>
#include <optional>

#include "core/error.h"
#include "core/options/suggest.h"
#include "core/options/yaml_scalar.h"
#include "tools/compare/search/axes.h"
#include "train/checkpoint/checksum.h"
#include "train/config/config.h"
#include "train/config/config_changes.h"
#include "train/run.h"

namespace fs = std::filesystem;

namespace monge::compare {
namespace {

// The seeds of a study: a block of its own, tuning first, so that neither more studies nor more seeds move the others.
constexpr std::int64_t seeds_of_study = 1000, most_tuning_seeds = 100;
constexpr std::int64_t seeds_of_entrant = 10'000'000;

std::vector<std::int64_t> count_from(std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> seeds(static_cast<std::size_t>(count));
  std::iota(seeds.begin(), seeds.end(), first);
  return seeds;
}

bool is_below(std::string_view key, std::string_view section) {
  return key.starts_with(section) && (key.size() == section.size() || key[section.size()] == '.');
}

constexpr const char* why_fixed = "losses on other data or windows cannot be compared";

bool is_fixed(std::string_view key) {
  constexpr std::array fixed{"data", "train.seed", "train.eval_batches", "model.context"};
  return std::ranges::any_of(fixed, [key](std::string_view section) { return is_below(key, section); });
}

/// What a variant says under `unlike`, which is taken out of it.
std::vector<std::string> take_unlike(YamlNode& variant) {
  const YamlNode* list = variant.find("unlike");
  if (list == nullptr) return {};
  std::vector<std::string> keys;
  if (list->kind != YamlNode::Kind::list) fail_at(list->place, "unlike", "expected a list of keys");
  for (const YamlNode& item : list->items) {
    const std::string key = text_of(item, "unlike", {});
    if (is_fixed(key)) fail_at(item.place, "unlike", fmt::format("{}: {}", key, why_fixed));
    keys.push_back(key);
  }
  std::erase_if(variant.entries, [](const YamlEntry& entry) { return entry.key == "unlike"; });
  return keys;
}

std::unique_ptr<train::Dataset> open_data_of(const WorkloadOptions& workload, const train::Config& recipe) {
  try {
    return train::make_dataset(recipe);
  } catch (const InputError& error) {
    throw InputError(
        fmt::format("workload '{}': {}; its recipe, '{}', may say how to get the data, and without it a "
                    "comparison is one line shorter",
                    workload.name, error.what(), workload.config));
  }
}

}  // namespace

void WorkloadOptions::fields(Fields& f) {
  f("config", config,
    {.doc = "recipe to train by; a relative path starts at the comparison's folder", .required = true});
  f("name", name, {.doc = "how the report calls it; empty: like the recipe's file"});
  f("target", target,
    {.doc = "validation loss whose time is measured; 0: what 80% of the tuned baseline's runs end below",
     .unit = "nats per token",
     .min = 0.0});
  f("target_excess", target_excess,
    {.doc = "the same as a distance from the loss of the best possible predictor; 0: not given",
     .unit = "nats per token",
     .min = 0.0});
  f("target_accuracy", target_accuracy,
    {.doc = "share of right answers whose time is measured, where every answer is determined; 0: not given",
     .min = 0.0,
     .max = 1.0});
}

void WorkloadOptions::check() const {
  const auto given = std::ranges::count_if(std::array{target, target_excess, target_accuracy},
                                           [](double value) { return value > 0.0; });
  if (given > 1) throw KeyError("target", "give one of target, target_excess and target_accuracy");
}

void SeedOptions::fields(Fields& f) {
  f("first", first,
    {.doc = "seed that all others are counted from: another one repeats the comparison with fresh runs",
     .min = 0,
     .max = 1e12});
}

void TuneOptions::fields(Fields& f) {
  f("studies", studies,
    {.doc = "how often the whole tuning is repeated, with other seeds: what is claimed of tuned variants needs several",
     .unit = "studies",
     .min = 1,
     .max = 1000});
  f("seeds", seeds, {.doc = "runs of each setting", .unit = "seeds", .min = 1, .max = most_tuning_seeds / 2});
  f("max_trials", max_trials,
    {.doc = "settings that a variant may try on a workload in a study", .unit = "settings", .min = 1, .max = 1000});
  f("finalists", finalists,
    {.doc = "best settings, which get more seeds before one is chosen", .unit = "settings", .min = 1, .max = 100});
  f("final_seeds", final_seeds,
    {.doc = "further runs of each finalist; 0: the setting with the least loss so far is chosen",
     .unit = "seeds",
     .min = 0,
     .max = most_tuning_seeds / 2});
  f("search", search,
    {.doc = "coordinates: one axis at a time, from the values given; quasi_random: max_trials points of a Sobol "
            "sequence, in the box between the least and the largest value of every axis",
     .choices = {"coordinates", "quasi_random"}});
  f("at", at,
    {.doc = "recipe: settings are found at the recipe's length and kept at other budgets; each_budget: anew at each",
     .choices = {"recipe", "each_budget"}});
}

void ReportOptions::fields(Fields& f) {
  f("seeds", seeds,
    {.doc = "runs of the tuned setting in a study, with other seeds than the ones tuned on",
     .unit = "seeds",
     .min = 1,
     .max = seeds_of_study - most_tuning_seeds});
  f("level", level,
    {.doc = "chance of any false claim, over all pairs and workloads", .min = 0.0, .max = 0.5, .exclusive_min = true});
  f("margin", margin,
    {.doc = "differences within it are of no interest: where the interval shows that, a pair is called equivalent; 0: "
            "none",
     .unit = "nats per token",
     .min = 0.0});
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
  f("only", only, {.doc = "names of variants that take part, the baseline among them; empty: all"});
  f("budgets", budgets,
    {.doc = "lengths of the reported runs, rising; the warmup keeps its share",
     .unit = "x train.steps",
     .min = 0.001,
     .max = 1e6});
  f("seeds", seeds, {.doc = "which random numbers"});
  f("tune", tune, {.doc = "how settings are found"});
  f("report", report, {.doc = "how the settings found are measured"});
  f("launcher", launcher,
    {.doc = "words put in front of the command of every run, as in \"srun -n1 -c2\"; empty: none"});
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
  std::vector<std::string> names;
  for (const YamlEntry& variant : variants.entries) names.push_back(variant.key);
  const auto check_name = [&names](const char* key, const std::string& name) {
    if (std::ranges::count(names, name) > 0) return;
    throw KeyError(key, fmt::format("no variant is called '{}'; allowed: {}{}", name, fmt::join(names, ", "),
                                    did_you_mean(name, names)));
  };
  check_name("baseline", baseline);
  if (only == ComparisonOptions{}.only) return;
  if (only.empty()) throw KeyError("only", "give one variant at least, or leave it out: then all take part");
  for (const std::string& name : only) {
    check_name("only", name);
    if (std::ranges::count(only, name) > 1) throw KeyError("only", fmt::format("'{}' is given twice", name));
  }
  if (!takes_part(baseline)) {
    throw KeyError("only", fmt::format("the baseline, '{}', is not among them; name it too, or give another baseline, "
                                       "as in baseline={}",
                                       baseline, only.front()));
  }
}

bool ComparisonOptions::takes_part(const std::string& variant) const {
  return only == ComparisonOptions{}.only || std::ranges::count(only, variant) > 0;
}

Comparison::Comparison(const fs::path& file, const std::vector<std::string>& overrides, std::int64_t cores,
                       Entrants entrants)
    : entrants_(entrants) {
  read_yaml_file(file.string(), overrides, options_);
  threads_ = std::max<std::int64_t>(1, cores / options_.jobs);
  std::ifstream in(file, std::ios::binary);
  text_.assign(std::istreambuf_iterator<char>(in), {});
  if (!text_.ends_with('\n')) text_ += '\n';
  for (const std::string& text : overrides) text_ += fmt::format("# with {}\n", text);
  if (options_.title.empty()) options_.title = file.stem().string();
  if (entrants_ == Entrants::baseline_alone) options_.title += ": its baseline against itself";
  read_workloads(file.parent_path());
  read_variants();
  try_configs();
  compare_configs();
  open_data();
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
    if (!options_.takes_part(variant.key)) continue;
    if (variant.key == options_.baseline) baseline_ = variants_.size();
    NamedVariant& named = variants_.emplace_back(NamedVariant{.name = variant.key, .node = variant.value});
    named.declared = take_unlike(named.node);
    const YamlNode* train = named.node.find("train");
    if (const YamlEntry* seed = train == nullptr ? nullptr : train->find_entry("seed")) {
      fail_at(seed->place, fmt::format("variants.{}.train.seed", named.name),
              "a comparison gives every variant the same seeds; seeds.first moves them");
    }
    named.axes = find_axes(named.node);
  }
  if (entrants_ == Entrants::variants) return;
  constexpr std::size_t copies = 4;
  const NamedVariant alone = variants_[baseline_];
  variants_.assign(copies, alone);
  for (std::size_t i = 0; i < copies; ++i) variants_[i].name = fmt::format("{} {}", alone.name, i + 1);
  baseline_ = 0;
}

std::vector<double> Comparison::tuned_budgets() const {
  return options_.tune.at == "each_budget" ? options_.budgets : std::vector{1.0};
}

double Comparison::tuned_budget_for(double budget) const { return options_.tune.at == "each_budget" ? budget : 1.0; }

PlannedRun Comparison::first_run(std::size_t variant, std::size_t workload) const {
  PlannedRun run{.variant = variant, .workload = workload, .seed = tuning_seeds(0, variant).front()};
  for (const Axis& axis : axes(variant)) run.setting.push_back(axis.values.front());
  return run;
}

void Comparison::try_configs() {
  for (std::size_t v = 0; v < variants(); ++v) {
    for (std::size_t w = 0; w < workloads(); ++w) {
      PlannedRun run = first_run(v, w);
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

/// Outside `optimizer`, variants are alike but for what they declare.
void Comparison::compare_configs() {
  for (std::size_t w = 0; w < workloads(); ++w) {
    const std::string baseline = config(first_run(baseline_, w)).yaml;
    for (std::size_t v = 0; v < variants(); ++v) {
      NamedVariant& variant = variants_[v];
      const auto declared = [&](const std::string& key) {
        return !is_fixed(key) &&
               std::ranges::any_of(variant.declared, [&](const std::string& d) { return is_below(key, d); });
      };
      const auto refuse = [&](const std::string& difference, const std::string& key) {
        throw InputError(fmt::format(
            "variants.{}: on workload '{}' it is unlike the baseline '{}' in {}; {}", variant.name, workload_name(w),
            options_.baseline, difference,
            is_fixed(key) ? std::string(why_fixed)
                          : fmt::format("variants differ in optimizer, and in what they declare: unlike: [{}]", key)));
      };
      for (const Axis& axis : variant.axes) {
        if (!is_below(axis.key, "optimizer") && !declared(axis.key)) refuse(axis.key + ", which is swept", axis.key);
      }
      for (const train::ConfigChange& change : train::config_changes(baseline, config(first_run(v, w)).yaml)) {
        if (is_below(change.key, "optimizer") || change.key == "train.seed") continue;  // the comparison's own
        if (!declared(change.key)) refuse(change.str(), change.key);
        if (std::ranges::count(variant.unlike, change.str()) == 0) variant.unlike.push_back(change.str());
      }
    }
  }
}

void Comparison::open_data() {
  for (std::size_t w = 0; w < workloads(); ++w) {
    const WorkloadOptions& workload = options_.workloads[w];
    train::Config recipe;
    read_yaml_text(config(first_run(baseline_, w)).yaml, workload.config, {}, recipe);
    const std::optional<double> optimum = open_data_of(workload, recipe)->validation_optimum(1);
    const auto refuse = [&](const char* problem) {
      throw InputError(fmt::format("workload '{}': {}", workload.name, problem));
    };
    if (workload.target_excess > 0.0 && !optimum) {
      refuse("target_excess: the best possible loss of this data is not known; give target");
    }
    if (workload.target_accuracy > 0.0 && optimum != 0.0) {
      refuse("target_accuracy: not every answer of this data is determined; give target or target_excess");
    }
  }
}

std::vector<std::int64_t> Comparison::tuning_seeds(std::size_t study, std::size_t variant) const {
  const std::int64_t apart =
      entrants_ == Entrants::variants ? 0 : seeds_of_entrant * static_cast<std::int64_t>(variant);
  return count_from(options_.seeds.first + seeds_of_study * static_cast<std::int64_t>(study) + apart,
                    options_.tune.seeds);
}

std::vector<std::int64_t> Comparison::final_seeds(std::size_t study, std::size_t variant) const {
  return count_from(tuning_seeds(study, variant).back() + 1, options_.tune.final_seeds);
}

std::vector<std::int64_t> Comparison::report_seeds(std::size_t study) const {
  return count_from(tuning_seeds(study, 0).front() + most_tuning_seeds, options_.report.seeds);
}

std::uint64_t Comparison::box_shift(std::size_t study, std::size_t variant) const {
  return static_cast<std::uint64_t>(tuning_seeds(study, variant).front());
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

RunConfig Comparison::resolve(const PlannedRun& run) {
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
  for (const char* text : {"train.checkpoint_every=0", "train.keep_checkpoints=0", "train.keep_best=false",
                           "train.patience=0", "train.sample_tokens=0"}) {
    override_with(text);
  }
  train::Config config;
  read_yaml_layers(std::move(layers), config);
  return {data_checksums(config) + write_yaml(config), config.train.steps};
}

/// A comment for every file that its data names.
std::string Comparison::data_checksums(const train::Config& config) {
  std::string text;
  for (const fs::path& file : train::data_files(config)) {
    const auto [known, is_new] = checksums_.try_emplace(file);
    if (is_new) known->second = train::file_checksum(file);
    text += fmt::format("# {} has checksum {}\n", file.string(), train::checksum_text(known->second));
  }
  return text;
}

}  // namespace monge::compare
