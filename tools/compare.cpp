// monge compare COMPARISON [--out DIR]
#include <omp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <thread>

#include "tools/build_info.h"
#include "tools/commands.h"
#include "tools/compare/board.h"
#include "tools/compare/gather.h"
#include "tools/compare/report.h"
#include "tools/key_help.h"
#include "train/interrupt.h"

namespace fs = std::filesystem;

namespace monge::tools {
namespace {

struct Arguments {
  std::string comparison;
  std::string out;
};

/// Starts runs of the plan, in its order, until as many run as may.
void start_runs(compare::Comparison& comparison, const compare::Plan& plan, compare::Runs& runs) {
  const auto jobs = static_cast<std::size_t>(comparison.options().jobs);
  for (const compare::PlannedRun& run : plan.runs) {
    if (runs.running() >= jobs) return;
    const std::string& config = comparison.config(run).yaml;
    if (runs.outcome(config) == nullptr && !runs.running(config)) runs.start(config);
  }
}

ExitCode run(const Arguments& arguments) {
  using namespace compare;
  Comparison comparison(arguments.comparison, omp_get_num_procs());
  const fs::path out =
      arguments.out.empty() ? fs::path("runs") / fs::path(arguments.comparison).stem() : fs::path(arguments.out);
  Runs runs(out / "runs", build_text(), comparison.threads());
  Board board(stdout, comparison, runs);
  const LossOf loss_of = [&](const PlannedRun& planned) -> std::optional<double> {
    const Outcome* outcome = runs.outcome(comparison.config(planned).yaml);
    return outcome == nullptr ? std::nullopt : std::optional(outcome->final_loss);
  };
  const train::Interrupt interrupt;
  Plan plan = make_plan(comparison, loss_of);
  board.show(plan);
  while (!plan.complete && !interrupt.requested()) {
    start_runs(comparison, plan, runs);
    constexpr std::chrono::milliseconds pause(50);
    std::this_thread::sleep_for(pause);
    if (runs.collect()) plan = make_plan(comparison, loss_of);
    board.show(plan);
  }
  board.show(plan, /*now=*/true);
  const Results results = gather(comparison, plan, runs, build_text());
  write_results(results, out / "results.json");
  write_report(results, out);
  fmt::print("{}{}\n",
             plan.complete ? "" : "stopped; the same command continues. So far: ", (out / "report.html").string());
  return plan.complete ? ExitCode::done : ExitCode::interrupted;
}

}  // namespace

void add_compare(CLI::App& program, ExitCode& exit_code) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("compare", "Tune and compare optimizers as described in YAML");
  command->add_option("comparison", arguments->comparison, "YAML file")->required();
  command->add_option("--out", arguments->out,
                      "Folder of the comparison (default: runs/<comparison>); what is finished there is not run again");
  command->footer([] {
    compare::ComparisonOptions options;
    return key_help("COMPARISON", options);
  });
  command->callback([arguments, &exit_code] { exit_code = run(*arguments); });
}

}  // namespace monge::tools
