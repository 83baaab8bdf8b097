#include "tools/compare/report/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "tools/compare/report/page/wording.h"
#include "train/folder/run_folder.h"

namespace monge::compare {
namespace {

std::string csv_text(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) result += c == '"' ? "\"\"" : std::string(1, c);
  return result + "\"";
}

template <class T>
std::string csv_number(const std::optional<T>& value) {
  return value ? fmt::format("{}", *value) : "";
}

std::optional<double> value_if(bool present, double value) { return present ? std::optional(value) : std::nullopt; }

constexpr const char* csv_head =
    "workload,budget,variant,settings,trials,seeds,diverged,failed,mean_loss,sd,ci_low,ci_high,mean_accuracy,group,"
    "difference,difference_ci_low,difference_ci_high,paired,tested,p,verdict,detectable,excess_ratio,excess_ratio_ci_"
    "low,excess_ratio_ci_high,target,target_of,reached,steps_to_"
    "target,"
    "seconds_to_target,forward_backwards_to_target,catch_up,catch_up_ci_low,catch_up_ci_high,catch_up_missed,speed_up,"
    "speed_up_bound,step_milliseconds,"
    "slowdown,state_bytes,passes_per_step\n";

std::string csv_line(const Results& results, const Analysis& analysis, const Table& table, const Row& row) {
  const Workload& workload = results.workloads[table.workload];
  std::vector<std::string> chosen;  // in each study
  std::int64_t trials = 0;
  for (const Tuned& tuned : results.tuned) {
    if (tuned.workload != table.workload || tuned.variant != row.variant) continue;
    if (tuned.budget != tuned_budget(results, table)) continue;
    chosen.push_back(settings(tuned.axes));
    trials += tuned.trials;
  }
  const auto& c = row.contrast;
  const auto of = [](const auto& present, auto get) {
    return present ? std::optional<double>(get(*present)) : std::nullopt;
  };
  const auto low = [](const auto& x) { return x.interval.low; };
  const auto high = [](const auto& x) { return x.interval.high; };
  std::vector<std::string> fields = {
      csv_text(workload.name),
      fmt::format("{}", table.budget),
      csv_text(results.variants[row.variant].name),
      csv_text(fmt::format("{}", fmt::join(chosen, "; "))),
      chosen.empty() ? "" : fmt::format("{}", trials),
      fmt::format("{}", row.losses.size()),
      fmt::format("{}", row.diverged),
      fmt::format("{}", row.failed),
      csv_number(value_if(!row.losses.empty(), row.mean)),
      csv_number(row.deviation),
      csv_number(of(row.interval, [](const Interval& i) { return i.low; })),
      csv_number(of(row.interval, [](const Interval& i) { return i.high; })),
      csv_number(row.accuracy),
      row.group,
      csv_number(of(c, [](const Contrast& x) { return x.difference; })),
      csv_number(of(c, [](const Contrast& x) { return x.interval.low; })),
      csv_number(of(c, [](const Contrast& x) { return x.interval.high; })),
      c ? (c->paired ? "yes" : "no") : "",
      c ? (c->on_excess ? "log excess" : "loss") : "",
      csv_number(of(c, [](const Contrast& x) { return x.p; })),
      c ? std::string(verdict_name(c->verdict)) : "",
      csv_number(of(c, [](const Contrast& x) { return x.detectable; })),
      csv_number(of(row.excess_ratio, [](const ExcessRatio& x) { return x.ratio; })),
      csv_number(of(row.excess_ratio, low)),
      csv_number(of(row.excess_ratio, high)),
      csv_number(workload.target),
      !workload.target              ? ""
      : workload.target_is_accuracy ? "accuracy"
                                    : "loss",
      workload.target ? fmt::format("{}", row.reached) : "",
  };
  for (const Effort effort : efforts) {
    const bool there = workload.target && (effort != Effort::seconds || analysis.timed);
    fields.push_back(csv_number(value_if(there, row.median_to_target[static_cast<std::size_t>(effort)])));
  }
  const Interval* shares = row.catch_up && row.catch_up->interval ? &*row.catch_up->interval : nullptr;
  fields.push_back(csv_number(of(row.catch_up, [](const CatchUp& x) { return x.ratio; })));
  fields.push_back(csv_number(of(shares, [](const Interval& x) { return x.low; })));
  fields.push_back(csv_number(of(shares, [](const Interval& x) { return x.high; })));
  fields.push_back(row.catch_up ? fmt::format("{}", row.catch_up->missed.size()) : "");
  fields.push_back(csv_number(of(row.speed_up, [](const SpeedUp& x) { return x.factor; })));
  fields.push_back(!row.speed_up || row.speed_up->bound == SpeedUp::Bound::none ? ""
                   : row.speed_up->bound == SpeedUp::Bound::more_than           ? "more than"
                                                                                : "less than");
  fields.push_back(csv_number(value_if(analysis.timed, row.cost.step_milliseconds)));
  fields.push_back(csv_number(value_if(analysis.timed, row.cost.slowdown)));
  fields.push_back(fmt::format("{}", row.cost.state_bytes));
  fields.push_back(fmt::format("{}", row.cost.passes_per_step));
  return fmt::format("{}\n", fmt::join(fields, ","));
}

}  // namespace

std::string to_csv(const Results& results, const Analysis& analysis) {
  std::string text = csv_head;
  for (const Table& table : analysis.tables) {
    for (const Row& row : table.rows) text += csv_line(results, analysis, table, row);
  }
  return text;
}

void write_report(const Results& results, const std::filesystem::path& folder) {
  const Analysis analysis = analyse(results);
  const Page page = make_page(results, analysis, find_lints(results, analysis));
  std::error_code problem;
  std::filesystem::create_directories(folder, problem);
  if (problem) throw RunError(fmt::format("cannot make the folder '{}': {}", folder.string(), problem.message()));
  train::write_text_file(folder / "results.csv", to_csv(results, analysis));
  train::write_text_file(folder / "report.md", to_markdown(page));
  std::string html;
  try {
    html = to_html(page);
  } catch (const RunError& error) {
    throw RunError(
        fmt::format("{}; report.md and results.csv are in '{}', report.html is not", error.what(), folder.string()));
  }
  train::write_text_file(folder / "report.html", html);
}

}  // namespace monge::compare
