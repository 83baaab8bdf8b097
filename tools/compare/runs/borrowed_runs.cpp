#include "tools/compare/runs/borrowed_runs.h"

#include <algorithm>

namespace monge::compare {
namespace {

/// Equal numbers are equal bits here: no loss is a negative zero, and a NaN equals nothing.
bool same_losses(const RunResult& one, const RunResult& other) {
  return one.status == other.status && one.final_loss == other.final_loss &&
         std::ranges::equal(one.points, other.points, [](const Point& a, const Point& b) {
           return a.step == b.step && a.val_loss == b.val_loss;
         });
}

}  // namespace

bool BorrowedRuns::add(const Kind& kind, const std::string& hash, RunResult result) {
  if (result.points.empty()) return false;
  groups_[kind].runs.try_emplace(hash, std::move(result));
  return true;
}

void BorrowedRuns::judge(const std::string& hash, const RunResult& own) {
  for (auto& [kind, group] : groups_) {
    const auto borrowed = group.runs.find(hash);
    if (borrowed == group.runs.end()) continue;
    (same_losses(own, borrowed->second) ? group.same : group.different).insert(hash);
  }
}

const RunResult* BorrowedRuns::believed(const std::string& hash) const {
  for (const auto& [kind, group] : groups_) {
    const auto found = group.runs.find(hash);
    if (found != group.runs.end() && group.believed()) return &found->second;
  }
  return nullptr;
}

const RunResult* BorrowedRuns::expected(const std::string& hash) const {
  if (const RunResult* sure = believed(hash)) return sure;
  for (const auto& [kind, group] : groups_) {
    const auto found = group.runs.find(hash);
    if (found != group.runs.end() && group.open()) return &found->second;
  }
  return nullptr;
}

bool BorrowedRuns::waits(const std::string& hash) {
  std::vector<Group*> its;
  for (auto& [kind, group] : groups_) {
    if (!group.open() || !group.runs.contains(hash)) continue;
    if (!group.witness.empty() && group.witness != hash) return true;
    its.push_back(&group);
  }
  for (Group* group : its) group->witness = hash;
  return false;
}

void BorrowedRuns::release_witnesses(const std::function<bool(const std::string&)>& runs) {
  for (auto& [kind, group] : groups_) {
    if (!runs(group.witness)) group.witness.clear();
  }
}

void BorrowedRuns::remember(const Verdict& verdict) {
  remembered_[{verdict.made_by, verdict.variant, verdict.workload}] = verdict;
}

std::vector<Verdict> BorrowedRuns::verdicts() const {
  std::map<Kind, Verdict> all = remembered_;
  for (const auto& [kind, group] : groups_) {
    if (group.open()) continue;
    all[kind] = {.made_by = kind.made_by,
                 .variant = kind.variant,
                 .workload = kind.workload,
                 .borrowed = group.runs.size(),
                 .made_again = group.same.size() + group.different.size(),
                 .different = group.different.size()};
  }
  std::vector<Verdict> out;
  for (const auto& [kind, verdict] : all) out.push_back(verdict);
  return out;
}

}  // namespace monge::compare
