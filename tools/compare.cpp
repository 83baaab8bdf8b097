// monge compare COMPARISON [key.path=value ...] [--out DIR] [--carry FILE]... [--plan] [--forecast] [--self-test]
#include <algorithm>
#include <chrono>
#include <optional>
#include <set>
#include <thread>

#include "tools/commands.h"
#include "tools/compare/report/analysis.h"
#include "tools/compare/report/report.h"
#include "tools/compare/runs/collect_results.h"
#include "tools/compare/runs/forecast.h"
#include "tools/compare/runs/progress_display.h"
#include "tools/program/build_info.h"
#include "tools/program/key_help.h"
#include "tools/program/output.h"
#include "tools/program/processors.h"
#include "train/console/interrupt.h"
#include "train/console/progress.h"
#include "train/folder/folder_lock.h"

namespace fs = std::filesystem;

namespace monge::tools {
namespace {

struct Arguments {
  std::string comparison;
  std::vector<std::string> overrides;
  std::string out;
  std::vector<std::string> carry;
  bool forecast = false, self_test = false, plan = false;
};

/// Starts runs of these, in their order, until as many run as may.
void start_runs(compare::Comparison& comparison, const std::vector<compare::PlannedRun>& planned, compare::Runs& runs) {
  const auto jobs = static_cast<std::size_t>(comparison.options().jobs);
  for (const compare::PlannedRun& run : planned) {
    if (runs.running() >= jobs) return;
    const std::string& config = comparison.config(run).yaml;
    if (runs.result(config) == nullptr && !runs.running(config) && !runs.waits(config)) runs.start(config);
  }
}

/// Processor threads of the run that has the most.
std::int64_t most_threads(compare::Comparison& comparison) {
  std::int64_t most = 1;
  for (std::size_t workload = 0; workload < comparison.workloads(); ++workload) {
    for (std::size_t variant = 0; variant < comparison.variants(); ++variant) {
      const compare::PlannedRun run = comparison.first_run(variant, workload);
      most = std::max(most, compare::threads_of(comparison.config(run).yaml));
    }
  }
  return most;
}

void pause() { std::this_thread::sleep_for(std::chrono::milliseconds(50)); }

/// Made of what `result` knows of a run.
template <class GetResult>
compare::FinishedRuns finished_by(compare::Comparison& comparison, const GetResult& result) {
  return [&comparison, result](const compare::PlannedRun& planned) -> std::optional<compare::FinishedRun> {
    train::stop_here_if_interrupted();
    const compare::RunResult* known = result(comparison.config(planned).yaml);
    if (known == nullptr) return std::nullopt;
    return compare::FinishedRun{.loss = known->final_loss, .failed = known->status == compare::Run::Status::failed};
  };
}

/// Measures a step of every variant on every workload and says what the comparison will take.
ExitCode forecast(compare::Comparison& comparison, compare::Runs& runs) {
  std::vector<compare::Forecast> forecasts = compare::make_forecast(comparison);
  std::vector<compare::PlannedRun> probes;
  for (const compare::Forecast& f : forecasts) probes.push_back(f.probe);
  const train::Interrupt interrupt;
  for (start_runs(comparison, probes, runs); runs.running() > 0; start_runs(comparison, probes, runs)) {
    if (interrupt.requested()) break;
    pause();
    runs.poll();
  }
  if (!interrupt.requested()) {
    const auto expected = [&runs](const std::string& config) { return runs.expected(config); };
    compare::leave_out_known(comparison, plan_runs(comparison, finished_by(comparison, expected)), runs, forecasts);
  }
  for (const std::string& line : compare::forecast_table(comparison, forecasts, runs)) train::show(stdout, line + "\n");
  return interrupt.requested() ? ExitCode::interrupted : ExitCode::done;
}

/// What other folders hold, by --carry.
std::vector<compare::Results> read_others(const std::vector<std::string>& files) {
  std::vector<compare::Results> out;
  for (const fs::path file : files) {
    try {
      out.push_back(compare::read_results(fs::is_directory(file) ? file / "results.json" : file));
    } catch (const InputError& error) {
      throw InputError(fmt::format("--carry: {}", error.what()));
    }
  }
  return out;
}

/// Returns the hashes of what each holds.
std::vector<std::set<std::string>> carry_others(const Arguments& arguments, const std::vector<compare::Results>& others,
                                                compare::Runs& runs) {
  std::vector<std::set<std::string>> taken;
  for (std::size_t i = 0; i < others.size(); ++i) {
    taken.push_back(runs.carry(others[i]));
    if (!taken.back().empty() || others[i].runs.empty()) continue;
    train::show(stderr,
                fmt::format("note: --carry {}: none of its {} runs is taken over; they failed, have settings that this "
                            "program does not know, or were changed: their hashes are of other settings\n",
                            arguments.carry[i], others[i].runs.size()));
  }
  return taken;
}

/// Says which of the others hold nothing that is asked for.
void tell_useless(const Arguments& arguments, const std::vector<std::set<std::string>>& others,
                  compare::Comparison& comparison, const compare::RunPlan& plan, const compare::Runs& runs) {
  if (others.empty()) return;
  std::set<std::string> asked;
  for (const compare::PlannedRun& run : plan.runs) asked.insert(runs.hash(comparison.config(run).yaml));
  for (std::size_t i = 0; i < others.size(); ++i) {
    const bool useful = std::ranges::any_of(others[i], [&](const std::string& hash) { return asked.contains(hash); });
    if (useful || others[i].empty()) continue;
    train::show(stderr,
                fmt::format("note: --carry {}: none of its {} runs is asked for here: their settings, seeds, data "
                            "or threads are others\n",
                            arguments.carry[i], others[i].size()));
  }
}

/// What was finished before in the same folder, or came with it from another machine. What another program has gathered
/// there is kept beside it: results.json is written anew before all of that is judged.
void carry_own(const fs::path& out, compare::Runs& runs) {
  const fs::path file = out / "results.json", kept = out / "borrowed";
  std::error_code none;
  try {
    if (fs::exists(file, none)) {
      const compare::Results results = compare::read_results(file);
      const std::string program = compare::numerics_of(results);
      if (program != numerics_text()) {
        fs::create_directories(kept, none);
        write_results(results, kept / (compare::Runs::hash("", program) + ".json"));
      }
      runs.carry(results);
    }
    for (const auto& entry : fs::directory_iterator(kept, none)) runs.carry(compare::read_results(entry.path()));
  } catch (const InputError& error) {
    train::show(stderr, fmt::format("note: {}; the folders of finished runs are read instead\n", error.what()));
  }
}

/// Of the runs that can start now, a line each.
void print_commands(compare::Comparison& comparison, const compare::RunPlan& plan, compare::Runs& runs) {
  std::set<std::string> seen;
  for (const compare::PlannedRun& run : plan.runs) {
    const std::string& config = comparison.config(run).yaml;
    if (runs.result(config) != nullptr || runs.waits(config)) continue;
    if (seen.insert(config).second) fmt::print("{}\n", runs.command(config));
  }
}

/// How many runs have failed where others made them, and what to do.
void tell_failures(const compare::Results& results, const fs::path& out) {
  std::set<std::string> failed;
  const compare::Run* first = nullptr;
  for (const compare::Run& run : results.runs) {
    if (run.status == compare::Run::Status::failed && failed.insert(run.hash).second && first == nullptr) first = &run;
  }
  if (first == nullptr) return;
  const fs::path runs = out / "runs";
  train::show(stderr, fmt::format("note: {} failed and will not be printed again; the first, in {}:\n{}\nTo try again, "
                                  "remove {}/*/error.txt, or run this comparison without --plan\n",
                                  failed.size() == 1 ? "1 run" : fmt::format("{} runs", failed.size()),
                                  (runs / first->hash).string(), first->message, runs.string()));
}

ExitCode run(const Arguments& arguments) {
  using namespace compare;
  keep_running_without_readers();
  const fs::path out = arguments.out.empty() ? fs::path("runs") / (fs::path(arguments.comparison).stem().string() +
                                                                   (arguments.self_test ? "-self-test" : ""))
                                             : fs::path(arguments.out);
  const std::vector<Results> others = read_others(arguments.carry);
  const train::FolderLock lock(out, "comparison");
  Comparison comparison(arguments.comparison, arguments.overrides, default_threads(),
                        arguments.self_test ? Entrants::baseline_alone : Entrants::variants);
  Runs runs(out / "runs", {.numerics = numerics_text(),
                           .threads = comparison.threads(),
                           .jobs = comparison.options().jobs,
                           .most_threads = most_threads(comparison),
                           .launcher = comparison.options().launcher,
                           .made_by_others = arguments.plan});
  const std::vector<std::set<std::string>> carried = carry_others(arguments, others, runs);
  carry_own(out, runs);
  if (arguments.forecast) return forecast(comparison, runs);
  std::optional<ProgressDisplay> display;  // beside commands there is no room for it
  if (!arguments.plan) display.emplace(stdout, comparison, runs);
  const train::Interrupt interrupt;
  const FinishedRuns finished =
      finished_by(comparison, [&runs](const std::string& config) { return runs.result(config); });
  RunPlan plan = plan_runs(comparison, finished);
  tell_useless(arguments, carried, comparison, plan, runs);
  if (display) display->show(plan);
  while (!plan.complete && !arguments.plan && !interrupt.requested()) {
    start_runs(comparison, plan.runs, runs);
    pause();
    try {
      if (runs.poll()) plan = plan_runs(comparison, finished);
    } catch (const train::Interrupted&) {
      break;
    }
    display->show(plan);
  }
  if (display) display->show(plan, /*now=*/true);
  const Results results = collect_results(comparison, plan, runs, build_text());
  write_results(results, out / "results.json");
  write_report(results, out);
  if (arguments.plan) tell_failures(results, out);
  if (arguments.plan && !plan.complete) {
    print_commands(comparison, plan, runs);
    return ExitCode::done;
  }
  if (plan.complete && arguments.self_test) {
    const Analysis analysis = analyse(results);
    train::show(stdout, fmt::format("self-test: {} of {} pairs were claimed to differ, and all are alike\n",
                                    analysis.claims, analysis.comparisons));
  }
  train::show(arguments.plan ? stderr : stdout,
              fmt::format("{}{}\n", plan.complete ? "" : "stopped; the same command continues. So far: ",
                          (out / "report.html").string()));
  if (!plan.complete) return ExitCode::interrupted;
  const auto failed = std::ranges::count(results.runs, Run::Status::failed, &Run::status);
  if (failed == 0) return ExitCode::done;
  train::show(stderr, fmt::format("monge: {} of {} runs failed; the report says why\n", failed, results.runs.size()));
  return ExitCode::run_failed;
}

}  // namespace

void add_compare(Command& program, ExitCode& exit_code) {
  auto arguments = std::make_shared<Arguments>();
  Command command = program.subcommand("compare", "Tune and compare optimizers as described in YAML");
  command.option("comparison", arguments->comparison, "YAML file").required();
  command.option("overrides", arguments->overrides, "key.path=value: settings that replace those of the file");
  command.flag("--forecast", arguments->forecast,
               "Only say how many runs there will be and how long they take, from some steps of each kind");
  command.flag("--plan", arguments->plan,
               "Run nothing: gather what is finished, and print a command for every run that can start now");
  command.flag("--self-test", arguments->self_test,
               "Compare the baseline with itself under four names, each tuned with other seeds: every claim is false");
  command.option("--out", arguments->out,
                 "Folder of the comparison (default: runs/<comparison>); what is finished there is not run again");
  command
      .option("--carry", arguments->carry,
              "Another folder or its results.json, where the same was compared or a part of it: what is finished there "
              "counts here; may be given several times")
      .repeatable();
  add_key_help(
      command, "COMPARISON", [] { return std::make_unique<compare::ComparisonOptions>(); },
      [arguments] { return arguments->overrides.empty() ? arguments->comparison : arguments->overrides.back(); });
  command.action([arguments, &exit_code] { exit_code = run(*arguments); });
}

}  // namespace monge::tools
