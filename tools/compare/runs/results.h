// Results: what a comparison has found, as the report reads it. `monge compare` gathers it from the folders of the
// runs and writes it as results.json; `monge report` reads that file alone.
//
// Losses are in nats per token, times in seconds of training without evaluation, budgets in multiples of the steps that
// a workload's recipe names. A forward-backward is the work of one pass forward and backward over a step's tokens.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tools/compare/search/tuned.h"

namespace monge::compare {

/// An optimizer and its settings.
struct Variant {
  std::string name;
  std::string config;  // what it sets on top of the base, as YAML
  std::vector<std::string>
      unlike;  // where it differs from the baseline outside `optimizer`: "model.bias: false -> true"
};

/// A problem to train on.
struct Workload {
  std::string name;
  std::string data;                  // what Dataset::description says
  std::int64_t parameters = 0;       // of the model
  std::int64_t vocab = 0;            // V; 0: not known
  std::optional<double> optimum;     // loss of the best possible predictor on the validation data
  std::optional<double> target;      // validation loss, or accuracy, whose time is measured
  bool target_is_accuracy = false;   // 0 .. 1
  std::string target_source;         // how the target was fixed, a sentence
  bool target_fixed_before = true;   // before any run that is reported was seen
  std::vector<double> budgets{1.0};  // in rising order

  /// Of its losses; a model that predicts no tokens has a vocabulary of one.
  const char* unit() const { return vocab == 1 ? "squared error" : "nats"; }
};

/// One evaluation of a run.
struct Point {
  std::int64_t step = 0;
  double seconds = 0.0;
  double forward_backwards = 0.0;
  std::optional<double> train_loss;
  double val_loss = 0.0;
  std::optional<double> val_accuracy;  // 0 .. 1, where every answer is determined
};

/// One training run.
struct Run {
  std::size_t variant = 0, workload = 0;  // places in Results
  std::size_t study = 0;                  // from 0
  Stage stage = Stage::tune;
  std::int64_t seed = 0;
  double budget = 1.0;
  std::vector<std::pair<std::string, double>> axes;  // settings that were swept, by key path; "optimizer.lr" first
  enum class Status : std::uint8_t { done, diverged, failed } status = Status::done;
  std::string message;  // of a run that diverged or failed
  std::vector<Point> points;
  double final_loss = 0.0;  // validation loss at the end of the schedule; infinite when diverged
  double step_milliseconds = 0.0;
  std::int64_t state_bytes = 0;  // of the optimizer
  double passes_per_step = 1.0;  // forward-backwards, those beside the plain step included
  std::string initial_weights;   // what it began with (train/checkpoint/start_identity.h)
  std::string batches;
  std::string device;      // what it ran on
  bool own_cores = false;  // and had cores of its own there (train/folder/run_summary.h): only then its times compare
  std::string made_by;     // the numerics of the program that computed it, as monge --version says them
  std::string hash;        // of the resolved configuration and these numerics
  std::string config;      // the resolved configuration, YAML
};

/// What became of the runs of a variant on a workload that another program made (runs/borrowed_runs.h).
struct Verdict {
  std::string made_by, variant, workload;  // the program as in Run::made_by, names as where they were borrowed
  std::size_t borrowed = 0;                // how many there are
  std::size_t made_again = 0;              // of these, by the program that gathered the results
  std::size_t different = 0;               // of these, came out otherwise

  bool believed() const { return different == 0; }
};

struct Results {
  std::string title;
  std::string description;
  std::size_t baseline = 0;  // the variant that the others are tested against
  double level = 0.05;       // of all claims together
  double margin = 0.0;       // nats per token: smaller differences are of no interest; 0: none
  std::vector<Variant> variants;
  std::vector<Workload> workloads;
  bool in_boxes = false;                               // tuned by points in boxes, not by coordinates
  std::size_t studies = 1;                             // how often everything was tuned, with seeds of its own
  std::vector<std::int64_t> tune_seeds, report_seeds;  // of all studies
  std::vector<Tuned> tuned;
  std::vector<Run> runs;  // finished ones, in the order of the plan
  std::vector<Verdict> verdicts;
  bool complete = true;    // every run of the plan is there
  std::string comparison;  // the YAML that was asked for
  std::string build;       // version, compiler, flags
  std::string machine;     // processor, threads, jobs at a time
};

/// Of the program that gathered these results: its build without the checksum of its file.
std::string numerics_of(const Results& results);

/// Non-finite numbers are written as null and read back as infinity. Throws RunError.
void write_results(const Results& results, const std::filesystem::path& file);
/// Runs that do not say who made them were made by the program that gathered them. Throws InputError for a file that is
/// missing or is not such results, with the key in question.
Results read_results(const std::filesystem::path& file);

}  // namespace monge::compare
