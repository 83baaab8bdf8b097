#include "tools/compare/runs/progress_display.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "tools/compare/statistics/sample.h"
#include "train/console/progress.h"

namespace monge::compare {
namespace {

std::string loss_text(double loss) { return std::isfinite(loss) ? fmt::format("{:.4f}", loss) : "diverged"; }

/// Columns of the table; the last has no end.
std::string columns(std::string_view workload, std::string_view variant, std::string_view stage, std::string_view runs,
                    std::string_view now, std::string_view best) {
  return fmt::format("{:<14.14} {:<12.12} {:<6} {:>7}  {:<8} {}", workload, variant, stage, runs, now, best);
}

}  // namespace

ProgressDisplay::ProgressDisplay(std::FILE* out, Comparison& comparison, Runs& runs)
    : out_(out),
      comparison_(comparison),
      runs_(runs),
      terminal_(::isatty(::fileno(out)) == 1),
      start_(Clock::now()),
      drawn_at_(start_ - std::chrono::hours(1)) {}

void ProgressDisplay::show(const RunPlan& plan, bool now) {
  tell_ended(plan);
  constexpr std::chrono::milliseconds pause(500);
  if (!terminal_ || (!now && Clock::now() - drawn_at_ < pause)) return;
  draw(table(plan));
  drawn_at_ = Clock::now();
}

void ProgressDisplay::tell_ended(const RunPlan& plan) {
  const bool first = !steps_before_.has_value();
  double steps = 0.0;
  for (const PlannedRun& run : plan.runs) {
    if (ended_.contains(run)) continue;
    const RunConfig& config = comparison_.config(run);
    const RunResult* result = runs_.result(config.yaml);
    if (result == nullptr) continue;
    ended_.insert(run);
    steps += static_cast<double>(config.steps);
    const bool borrowed = runs_.is_borrowed(*result);
    // It took no time here.
    if (!first && borrowed) *steps_before_ += static_cast<double>(config.steps);
    if (first) continue;
    if (result->status == Run::Status::failed) {
      note(fmt::format("{}: FAILED, {}", name(run), result->message));
    } else if (!terminal_) {
      note(fmt::format("{}: {}{}", name(run), loss_text(result->final_loss), borrowed ? ", by another program" : ""));
    }
  }
  if (!first) return;
  steps_before_ = steps;
  if (!ended_.empty()) note(fmt::format("{} runs were finished earlier", ended_.size()));
}

void ProgressDisplay::note(const std::string& text) {
  erase();
  train::show(out_, text + "\n");
}

void ProgressDisplay::erase() {
  if (drawn_ > 0) train::show(out_, fmt::format("\r\x1b[{}A\x1b[J", drawn_));
  drawn_ = 0;
}

void ProgressDisplay::draw(const std::vector<std::string>& lines) {
  // A line wider than the window would wrap, a table higher than it would scroll, and neither could be redrawn.
  winsize window{};
  const bool known = ::ioctl(::fileno(out_), TIOCGWINSZ, &window) == 0 && window.ws_col > 0 && window.ws_row > 1;
  const std::size_t width = known ? window.ws_col : 80, height = known ? window.ws_row - 1u : lines.size();
  erase();
  drawn_ = std::min(height, lines.size());
  std::string text;
  for (std::size_t i = 0; i < drawn_; ++i) text += lines[i].substr(0, width - 1) + "\n";
  train::show(out_, text);
}

std::vector<std::string> ProgressDisplay::table(const RunPlan& plan) const {
  std::vector<std::string> lines{comparison_.options().title, progress(plan),
                                 columns("workload", "variant", "stage", "runs", "now", "best so far")};
  for (std::size_t w = 0; w < comparison_.workloads(); ++w) {
    for (std::size_t v = 0; v < comparison_.variants(); ++v) lines.push_back(row(plan, w, v));
  }
  return lines;
}

std::string ProgressDisplay::progress(const RunPlan& plan) const {
  double done = 0.0, all = 0.0;  // steps
  std::size_t waiting = 0;       // for a witness: they are expected not to be made
  for (const PlannedRun& run : plan.runs) {
    const RunConfig& config = comparison_.config(run);
    if (!ended_.contains(run) && runs_.waits(config.yaml)) {
      ++waiting;
      continue;
    }
    const auto steps = static_cast<double>(config.steps);
    all += steps;
    if (ended_.contains(run)) {
      done += steps;
    } else if (runs_.running(config.yaml)) {
      done += static_cast<double>(runs_.step(config.yaml));
    }
  }
  std::string text = fmt::format("{} of {} runs done, {} running", ended_.size(), plan.runs.size(), runs_.running());
  if (waiting > 0) text += fmt::format(", {} wait for a witness", waiting);
  if (plan.searching) text += ", more to come";
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const double now_done = done - *steps_before_;
  if (now_done > 0.0 && all > done) {
    text += fmt::format(", {}{} left", plan.searching ? "more than " : "",
                        train::duration_text(seconds * (all - done) / now_done));
  }
  return text;
}

std::string ProgressDisplay::row(const RunPlan& plan, std::size_t workload, std::size_t variant) const {
  std::size_t done = 0, all = 0;
  bool reporting = false;
  std::vector<std::string> now;
  for (const PlannedRun& run : plan.runs) {
    if (run.workload != workload || run.variant != variant) continue;
    ++all;
    reporting = reporting || run.stage == Stage::report;
    if (ended_.contains(run)) {
      ++done;
      continue;
    }
    const RunConfig& config = comparison_.config(run);
    if (!runs_.running(config.yaml)) continue;
    now.push_back(fmt::format(
        "{:.0f}%", 100.0 * static_cast<double>(runs_.step(config.yaml)) / static_cast<double>(config.steps)));
  }
  const char* stage = !reporting ? "tune" : done < all ? "report" : "done";
  return columns(comparison_.workload_name(workload), comparison_.variant_name(variant), stage,
                 fmt::format("{}/{}", done, all), fmt::format("{}", fmt::join(now, " ")),
                 best_text(plan, workload, variant));
}

std::string ProgressDisplay::setting_text(std::size_t variant, const Setting& setting) const {
  std::vector<std::string> parts;
  for (std::size_t a = 0; a < setting.size(); ++a) {
    constexpr std::string_view section = "optimizer.";
    std::string_view key = comparison_.axes(variant)[a].key;
    if (key.starts_with(section)) key.remove_prefix(section.size());
    parts.push_back(fmt::format("{} {:g}", key, setting[a]));
  }
  return parts.empty() ? "as given" : fmt::format("{}", fmt::join(parts, ", "));
}

std::string ProgressDisplay::name(const PlannedRun& run) const {
  std::string text =
      fmt::format("{} {} {} {}", comparison_.workload_name(run.workload), comparison_.variant_name(run.variant),
                  run.stage == Stage::tune ? "tune" : "report", setting_text(run.variant, run.setting));
  if (run.budget != 1.0) text += fmt::format(" budget {:g}", run.budget);
  if (comparison_.studies() > 1) text += fmt::format(" study {}", run.study + 1);
  return fmt::format("{} seed {}", text, run.seed);
}

/// The least loss of the tuning runs and where; once there are reported runs, their mean on the largest budget so far.
std::string ProgressDisplay::best_text(const RunPlan& plan, std::size_t workload, std::size_t variant) const {
  const PlannedRun* best = nullptr;
  double least = 0.0, budget = 0.0;
  std::vector<double> reported;
  for (const PlannedRun& run : plan.runs) {
    if (run.workload != workload || run.variant != variant || !ended_.contains(run)) continue;
    const double loss = runs_.result(comparison_.config(run).yaml)->final_loss;
    if (run.stage == Stage::report) {
      if (run.budget > budget) reported.clear();
      budget = run.budget;
      reported.push_back(loss);
    } else if (best == nullptr || loss < least) {
      best = &run;
      least = loss;
    }
  }
  if (!reported.empty()) return fmt::format("{} mean of {}", loss_text(mean(reported)), reported.size());
  if (best == nullptr) return "";
  return fmt::format("{} at {}", loss_text(least), setting_text(variant, best->setting));
}

}  // namespace monge::compare
