// runs/: what is run and what came of it. Processes, their folders, progress on the terminal, and the results gathered
// from them.
//
// Runs: training runs in a folder, each a process of its own, each done once.
//
//   runs/<hash>.yaml   the resolved configuration
//   runs/<hash>.log    what the run printed
//   runs/<hash>/       the run's folder (train/folder/run_folder.h), without checkpoints
//
// The hash is that of configuration and numerics: equal ones share a run, and a program that computes otherwise runs
// anew, unless what it would make was borrowed and is believed (borrowed_runs.h). A run is finished when its summary is
// there; what a killed run left behind is removed when it starts again. A run that diverged is finished; one that
// failed for another reason is not, and runs again with the next comparison. Where others make the runs, a failure
// stands in error.txt of the run's folder, and counts as long as it is there.
#pragma once

#include <map>
#include <memory>
#include <optional>

#include "tools/compare/runs/borrowed_runs.h"
#include "tools/compare/runs/child_process.h"
#include "tools/compare/runs/own_cores.h"
#include "tools/compare/runs/run_result.h"

namespace monge::compare {

/// What is the same for all runs.
struct RunsOptions {
  std::string numerics;           // what computes the numbers
  std::int64_t threads = 1;       // of the processor, for each that does not say
  std::int64_t jobs = 1;          // how many run at a time
  std::int64_t most_threads = 1;  // of any
  std::string launcher;           // words in front of the command of each
  bool made_by_others = false;    // by the commands, as with --plan
};

/// Processor threads of the run of a configuration.
std::int64_t threads_of(const std::string& config);

class Runs {
 public:
  /// Makes the folder, in one that its caller has locked. Throws InputError when it cannot be written.
  Runs(std::filesystem::path folder, RunsOptions options);
  ~Runs();
  Runs(const Runs&) = delete;
  Runs& operator=(const Runs&) = delete;

  /// Takes over the finished runs of results that were gathered before, perhaps on another machine: their folders are
  /// not needed. Those of other programs are borrowed. Returns their hashes here; failed ones, and those whose settings
  /// this program does not know, are left out.
  std::set<std::string> carry(const Results& results);

  /// Sixteen hexadecimal digits; of a run that this program makes.
  std::string hash(const std::string& config) const { return hash(config, options_.numerics); }
  static std::string hash(const std::string& config, const std::string& made_by);

  /// Of the run of this configuration if it is finished, or has failed in this process or for others, or if it was
  /// borrowed and counts; else null.
  const RunResult* result(const std::string& config);
  /// The same, where it can be foreseen that the borrowed run will count.
  const RunResult* expected(const std::string& config);
  /// Whether a run without a result need not start now: it was borrowed, and its witness has not ended. Ask in the
  /// order of the plan: the first of a kind becomes the witness.
  bool waits(const std::string& config) { return borrowed_.waits(hash(config)); }
  bool is_borrowed(const RunResult& result) const { return result.made_by != options_.numerics; }
  std::vector<Verdict> verdicts() const { return borrowed_.verdicts(); }

  /// On cores of its own, if there are enough for all jobs; with a launcher, that is its affair. Throws RunError.
  void start(const std::string& config);
  /// Writes the configuration of a run and returns the command that makes it, without the launcher: from anywhere, with
  /// these threads, in a folder that others see. A run that was killed starts again, and one under way is left alone.
  std::string command(const std::string& config);
  bool running(const std::string& config) const { return children_.contains(hash(config)); }
  std::size_t running() const { return children_.size(); }
  /// The last step that a running run has reported; 0 before the first.
  std::int64_t step(const std::string& config) const;
  /// Notices which runs have ended; returns whether one has.
  bool poll();

 private:
  std::filesystem::path path(const std::string& hash, const char* extension = "") const;
  struct Child {
    std::unique_ptr<ChildProcess> process;
    std::vector<int> cores;  // its own, if any
  };

  /// What this program has made, or has believed before.
  const RunResult* own_result(const std::string& config);
  RunResult failed_run(std::string message) const;
  const RunResult& keep(const std::string& hash, RunResult result);
  void finish(const std::string& hash, int code);
  ProcessorUse processor_use(const std::string& config);
  /// Whether others have left a failure, and make no new attempt now.
  bool failed_for_others(const std::string& hash) const;

  std::filesystem::path folder_;
  RunsOptions options_;
  std::vector<std::string> launcher_;
  std::unique_ptr<OwnCores> own_cores_;       // null before the first run
  std::vector<int> idle_cores_;               // of these
  std::map<std::string, Child> children_;     // by hash
  std::map<std::string, RunResult> results_;  // by hash
  BorrowedRuns borrowed_;
};

}  // namespace monge::compare
