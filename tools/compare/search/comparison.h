// Comparison: what `monge compare` is asked for, and the configuration of every run that it can lead to.
//
//   title: AdamW against Muon
//   baseline: adamw
//   workloads:
//     - {config: markov.yaml, target_excess: 0.05}
//   base: {train: {batch: 32}}
//   variants:
//     adamw: {optimizer: {name: adamw, lr: [2.0e-3, 4.0e-3, 8.0e-3]}}
//     muon:  {optimizer: {name: muon, lr: [0.01, 0.02, 0.04]}}
//
// A run's configuration is the workload's recipe, `base` laid over it, then the variant, in which every list for a key
// that takes one number is an axis to be swept.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "core/options/yaml.h"
#include "tools/compare/search/tuned.h"
#include "train/config/config.h"

namespace monge::compare {

struct WorkloadOptions : Options {
  std::string config;
  std::string name;              // empty: that of the recipe's file
  double target = 0.0;           // nats per token; 0: none
  double target_excess = 0.0;    // nats per token above the optimum; 0: none
  double target_accuracy = 0.0;  // 0 .. 1; 0: none
  void fields(Fields& f) override;
  void check() const override;
};

struct SeedOptions : Options {
  std::int64_t first = 1;
  void fields(Fields& f) override;
};

struct TuneOptions : Options {
  std::int64_t studies = 1;
  std::int64_t seeds = 1;
  std::int64_t max_trials = 12;
  std::int64_t finalists = 3;
  std::int64_t final_seeds = 2;
  std::string search = "coordinates";  // "quasi_random"
  std::string at = "recipe";           // "each_budget"
  void fields(Fields& f) override;
};

struct ReportOptions : Options {
  std::int64_t seeds = 5;
  double level = 0.05;
  double margin = 0.0;
  void fields(Fields& f) override;
};

struct ComparisonOptions : Options {
  std::string title, description;
  std::string baseline;
  std::vector<WorkloadOptions> workloads;
  YamlNode base, variants;
  std::vector<std::string> only{""};  // names of variants; one empty name: all of them
  std::vector<double> budgets{1.0};
  SeedOptions seeds;
  TuneOptions tune;
  ReportOptions report;
  std::int64_t jobs = 1;
  std::string launcher;  // words in front of a run's command
  void fields(Fields& f) override;
  void check() const override;

  /// Whether a variant takes part.
  bool takes_part(const std::string& variant) const;
};

/// A setting that is swept, and the values to begin with, in rising order.
struct Axis {
  std::string key;  // "optimizer.lr"
  std::vector<double> values;
  bool decay = false;  // of an average (betas, momentum): what counts is how far it is from one
  bool whole = false;  // an integer
};

/// One value for each axis of a variant.
using Setting = std::vector<double>;

/// One run that a comparison asks for.
struct PlannedRun {
  std::size_t variant = 0, workload = 0, study = 0;
  Stage stage = Stage::tune;
  std::int64_t seed = 0;
  double budget = 1.0;
  Setting setting;
  auto operator<=>(const PlannedRun&) const = default;
};

/// What a run is made from: its resolved configuration as YAML, with a comment that holds the checksum of every data
/// file it names, and the steps that this says.
struct RunConfig {
  std::string yaml;
  std::int64_t steps = 0;
};

/// Who is compared: the variants of the file, or its baseline several times, each tuned with seeds of its own, where
/// every difference that is claimed is false.
enum class Entrants : std::uint8_t { variants, baseline_alone };

class Comparison {
 public:
  /// Reads the comparison, lays `overrides` ("key.path=value") over it, reads its recipes, tries the configuration of
  /// every variant on every workload and opens the data. Runs share the `cores` of this machine. Throws InputError.
  Comparison(const std::filesystem::path& file, const std::vector<std::string>& overrides, std::int64_t cores,
             Entrants entrants = Entrants::variants);

  const ComparisonOptions& options() const { return options_; }
  /// The file, and the overrides in comments.
  const std::string& text() const { return text_; }

  /// Processor threads of a run whose recipe does not say.
  std::int64_t threads() const { return threads_; }

  /// Those that take part.
  std::size_t variants() const { return variants_.size(); }
  const std::string& variant_name(std::size_t variant) const { return variants_[variant].name; }
  /// Settings outside `optimizer` in which it differs from the baseline, as it has declared: "model.bias: false ->
  /// true".
  const std::vector<std::string>& unlike(std::size_t variant) const { return variants_[variant].unlike; }
  /// What it sets on top of the base, as YAML.
  std::string variant_config(std::size_t variant) const { return variants_[variant].node.str(); }
  /// "optimizer.lr" first.
  const std::vector<Axis>& axes(std::size_t variant) const { return variants_[variant].axes; }
  std::size_t baseline() const { return baseline_; }

  std::size_t workloads() const { return recipes_.size(); }
  const std::string& workload_name(std::size_t workload) const { return options_.workloads[workload].name; }

  /// At which everything is tuned, in a study.
  std::vector<double> tuned_budgets() const;
  /// Of these, the one whose settings a budget is reported with.
  double tuned_budget_for(double budget) const;

  /// From 0.
  std::size_t studies() const { return static_cast<std::size_t>(options_.tune.studies); }
  /// Of a study, whose seeds are its own: those that every setting is tried with, those of the finalists in addition,
  /// and those of the settings chosen.
  std::vector<std::int64_t> tuning_seeds(std::size_t study, std::size_t variant) const;
  std::vector<std::int64_t> final_seeds(std::size_t study, std::size_t variant) const;
  std::vector<std::int64_t> report_seeds(std::size_t study) const;
  /// Which points of a box a study tries (box.h): the same for all variants.
  std::uint64_t box_shift(std::size_t study, std::size_t variant) const;

  /// A tuning run of the first values on all axes.
  PlannedRun first_run(std::size_t variant, std::size_t workload) const;
  /// Throws InputError when a value is not allowed.
  const RunConfig& config(const PlannedRun& run);
  /// Whether config() throws nothing.
  bool allowed(const PlannedRun& run);

 private:
  struct NamedVariant {
    std::string name;
    YamlNode node;  // without `unlike`
    std::vector<Axis> axes;
    std::vector<std::string> declared;  // keys that may be unlike those of the baseline
    std::vector<std::string> unlike;    // what is
  };

  void read_workloads(const std::filesystem::path& folder);
  void read_variants();
  void try_configs();
  void compare_configs();
  void open_data();
  RunConfig resolve(const PlannedRun& run);
  std::string data_checksums(const train::Config& config);

  std::string text_;
  std::int64_t threads_ = 1;
  Entrants entrants_;
  ComparisonOptions options_;
  std::vector<NamedVariant> variants_;
  std::vector<YamlNode> recipes_;  // of the workloads
  std::size_t baseline_ = 0;
  std::map<PlannedRun, RunConfig> configs_;
  std::map<std::filesystem::path, std::uint64_t> checksums_;  // of data files, as they were when first asked for
};

}  // namespace monge::compare
