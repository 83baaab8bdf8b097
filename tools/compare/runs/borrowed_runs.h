// BorrowedRuns: runs that other programs made, and whether they count here.
//
// Whether two programs compute alike shows when both make the same run. Of the runs that a program made of a variant on
// a workload, the first that is asked for is made again: the witness. Where its evaluated losses are those of the
// borrowed run, to the last bit, the others count as well; where they differ, or it fails, none does.
#pragma once

#include <functional>
#include <map>
#include <set>

#include "tools/compare/runs/run_result.h"

namespace monge::compare {

class BorrowedRuns {
 public:
  /// Of one program, on one workload: they stand or fall together. Names as where they were borrowed.
  struct Kind {
    std::string made_by, variant, workload;
    auto operator<=>(const Kind&) const = default;
  };

  /// Runs are known by their hash here. One without an evaluated loss has nothing to compare, and is not taken.
  bool add(const Kind& kind, const std::string& hash, RunResult result);
  /// Compares with what this program has made of the same run, if it was borrowed.
  void judge(const std::string& hash, const RunResult& own);

  /// A borrowed run that counts; else null.
  const RunResult* believed(const std::string& hash) const;
  /// One that is not known not to count; else null.
  const RunResult* expected(const std::string& hash) const;
  /// Whether a run that is asked for need not start: another one is the witness. The first of a kind that this is asked
  /// of becomes that itself.
  bool waits(const std::string& hash);
  /// Lets the witnesses that do not run be chosen anew: other runs may be asked for now.
  void release_witnesses(const std::function<bool(const std::string&)>& runs);

  /// A verdict of this program in results gathered before.
  void remember(const Verdict& verdict);
  /// Those so far, in the order of program, variant and workload.
  std::vector<Verdict> verdicts() const;

 private:
  struct Group {
    std::map<std::string, RunResult> runs;  // by hash
    std::set<std::string> same, different;  // of those made again
    std::string witness;                    // to be made; empty: none yet

    bool open() const { return same.empty() && different.empty(); }
    bool believed() const { return !same.empty() && different.empty(); }
  };

  std::map<Kind, Group> groups_;
  std::map<Kind, Verdict> remembered_;
};

}  // namespace monge::compare
