// Comparisons whose truth is known: made-up results, drawn from a given law.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "core/random.h"
#include "tools/compare/runs/results.h"

namespace monge::test {

/// One workload, variants "v0" (the baseline), "v1" ...: the loss of variant v at seed k is
/// 2 + shifts[v] + 0.01 common_k + spread own_vk with standard normals, so that pairs share the common part.
inline compare::Results planted(const std::vector<double>& shifts, std::int64_t seeds, std::uint64_t draw,
                                double spread = 0.002) {
  compare::Results results{.title = "planted"};
  results.workloads.push_back({.name = "w", .data = "none"});
  RandomSequence random(draw, 0);
  std::vector<double> common;
  for (std::int64_t seed = 1; seed <= seeds; ++seed) {
    results.report_seeds.push_back(seed);
    common.push_back(0.01 * random.normal());
  }
  for (std::size_t v = 0; v < shifts.size(); ++v) {
    results.variants.push_back({.name = fmt::format("v{}", v)});
    for (std::size_t k = 0; k < common.size(); ++k) {
      const double loss = 2.0 + shifts[v] + common[k] + spread * random.normal();
      results.runs.push_back({.variant = v,
                              .stage = compare::Stage::report,
                              .seed = results.report_seeds[k],
                              .points = {{.step = 100, .seconds = 1.0, .forward_backwards = 100.0, .val_loss = loss}},
                              .final_loss = loss,
                              .step_milliseconds = 10.0,
                              .own_cores = true});
    }
  }
  return results;
}

/// Four optimizers on three workloads, one of them with three budgets: a clear winner, a tie, a loser that misses
/// targets, rates that diverge, and one run each that diverged and failed.
class Realistic {
 public:
  static compare::Results results() { return Realistic().make(); }

 private:
  struct Truth {
    std::string name;
    double gain;  // of loss, as a share of what is left
    double best_rate, milliseconds, passes;
    std::int64_t bytes_per_parameter;
  };

  compare::Results make() {
    r_.title = "Four optimizers on small problems";
    r_.description = "Does a matrix optimizer beat AdamW where the best possible loss is known?";
    for (std::size_t v = 0; v < truths_.size(); ++v) {
      r_.variants.push_back({truths_[v].name, fmt::format("optimizer:\n  kind: {}\n", truths_[v].name)});
    }
    r_.workloads = {
        {.name = "markov2",
         .data = "markov chain of order 2, 64 symbols, fresh samples every step",
         .parameters = 595072,
         .optimum = 2.4137,
         .target = 2.4337,
         .target_source = "best possible loss + 0.02",
         .budgets = {1.0, 2.0, 4.0}},
        {.name = "mess3",
         .data = "hidden Markov model Mess3, x 0.05, a 0.85",
         .parameters = 595072,
         .optimum = 0.794,
         .target = 0.814,
         .target_source = "best possible loss + 0.02"},
        {.name = "shakespeare",
         .data = "Tiny Shakespeare, 65 characters",
         .parameters = 804096,
         .target = 1.905,
         .target_source = "median over seeds of the tuned baseline",
         .target_fixed_before = false},
    };
    r_.tune_seeds = {101, 102};
    r_.report_seeds = {1, 2, 3, 4, 5, 6, 7, 8};
    r_.comparison = "base: configs/quickstart.yaml\nvariants: [adamw, muon, soap, lion]\n";
    r_.build = "Monge 0.1.0, g++ 12.2.0 -O2, AVX-512";
    r_.machine = "AMD EPYC, 2 threads, 1 job at a time";
    for (std::size_t w = 0; w < r_.workloads.size(); ++w) {
      for (std::size_t v = 0; v < truths_.size(); ++v) tune(w, v);
      for (const double budget : r_.workloads[w].budgets) {
        for (std::size_t k = 0; k < r_.report_seeds.size(); ++k) common_[k] = random_.normal();
        for (std::size_t v = 0; v < truths_.size(); ++v) report(w, v, budget);
      }
    }
    return r_;
  }

  double floor_of(std::size_t w) const { return r_.workloads[w].optimum.value_or(1.80); }

  double final_excess(std::size_t w, std::size_t v, double budget) const {
    const double base = std::vector{0.030, 0.018, 0.105}[w];
    return base * (1.0 - truths_[v].gain) * std::pow(budget, -0.6);
  }

  compare::Run run(std::size_t w, std::size_t v, double budget, double final_loss) {
    const auto steps = static_cast<std::int64_t>(700 * budget);
    const double start = std::log(64.0) - (w == 1 ? 3.06 : 0.0), floor = floor_of(w);
    compare::Run run{.variant = v, .workload = w, .budget = budget, .final_loss = final_loss};
    run.step_milliseconds = truths_[v].milliseconds * (1.0 + 0.01 * random_.normal());
    run.state_bytes = truths_[v].bytes_per_parameter * r_.workloads[w].parameters;
    run.passes_per_step = truths_[v].passes;
    run.own_cores = true;
    run.hash = fmt::format("{:08x}", random_.word());
    run.config = fmt::format("optimizer:\n  kind: {}\ntrain:\n  steps: {}\n", truths_[v].name, steps);
    constexpr int points = 28;
    for (int i = 0; i <= points; ++i) {
      const double t = double(i) / points, left = std::pow(final_loss - floor, t) * std::pow(start - floor, 1.0 - t);
      const double hump = 1.0 + 0.9 * t * (1.0 - t) * (1.0 - t) * (1.0 + 0.05 * random_.normal());
      const std::int64_t step = steps * i / points;
      run.points.push_back({.step = step,
                            .seconds = 1e-3 * static_cast<double>(step) * run.step_milliseconds,
                            .forward_backwards = static_cast<double>(step) * run.passes_per_step,
                            .val_loss = i == points ? final_loss : floor + left * hump});
    }
    return run;
  }

  void diverge(compare::Run& run, std::size_t keep) {
    run.status = compare::Run::Status::diverged;
    run.final_loss = std::numeric_limits<double>::infinity();
    run.points.resize(keep);
    run.message = fmt::format("loss is not finite at step {}; lower optimizer.lr", run.points.back().step + 12);
  }

  void tune(std::size_t w, std::size_t v) {
    compare::Tuned tuned{.variant = v, .workload = w, .trials = 7};
    tuned.axes = {{"optimizer.lr", truths_[v].best_rate}, {"optimizer.weight_decay", 0.1}};
    if (v == 1) tuned.fixed = {"optimizer.other.lr"};
    if (v == 3 && w == 2) tuned.on_edge = {"optimizer.lr"};
    for (int octave = v == 3 && w == 2 ? 0 : -4; octave <= 2; ++octave) {
      for (const std::int64_t seed : r_.tune_seeds) {
        const double excess = final_excess(w, v, 1.0) * (1.0 + 0.02 * random_.normal()) + 0.004 * octave * octave;
        compare::Run trial = run(w, v, 1.0, floor_of(w) + excess);
        trial.seed = seed;
        trial.axes = {{"optimizer.lr", std::ldexp(truths_[v].best_rate, octave)}, {"optimizer.weight_decay", 0.1}};
        if (octave == 2) diverge(trial, 5);
        r_.runs.push_back(trial);
      }
    }
    r_.tuned.push_back(tuned);
  }

  void report(std::size_t w, std::size_t v, double budget) {
    for (std::size_t k = 0; k < r_.report_seeds.size(); ++k) {
      const double noise = 0.0009 * common_[k] + 0.0005 * random_.normal();
      compare::Run reported = run(w, v, budget, floor_of(w) + final_excess(w, v, budget) + noise);
      reported.stage = compare::Stage::report;
      reported.seed = r_.report_seeds[k];
      reported.axes = r_.tuned.back().axes;
      if (v == 3 && w == 1 && k == 5) diverge(reported, 17);
      if (v == 2 && w == 2 && k == 7) {
        reported.status = compare::Run::Status::failed;
        reported.message = "cannot write '/data/run/metrics.jsonl': No space left on device";
      }
      r_.runs.push_back(reported);
    }
  }

  std::vector<Truth> truths_ = {{"adamw", 0.0, 2e-3, 22.4, 1.0, 8},
                                {"muon", 0.35, 1.6e-2, 26.1, 1.0, 4},
                                {"soap", 0.02, 4e-3, 41.7, 1.25, 24},
                                {"lion", -0.22, 4e-4, 21.8, 1.0, 4}};
  compare::Results r_;
  RandomSequence random_{7, 0};
  std::array<double, 8> common_{};
};

}  // namespace monge::test
