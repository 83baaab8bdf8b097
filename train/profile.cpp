#include "train/profile.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "train/folder/run_folder.h"

namespace monge::train {
namespace {

using profile::Event;

double seconds_of(const Event& event) { return std::chrono::duration<double>(event.end - event.begin).count(); }

/// An outer span before those in it.
bool outer_first(const Event& a, const Event& b) { return a.begin != b.begin ? a.begin < b.begin : a.end > b.end; }

Json arguments_of(const Event& event) {
  Json arguments;
  for (const profile::Operand& operand : event.call.operands) {
    arguments[operand.name] = fmt::format("{} {}", operand.shape, name_of(operand.dtype));
  }
  const double flops = event.call.flops, bytes = event.call.bytes(), seconds = seconds_of(event);
  if (flops > 0.0) arguments["FLOP"] = flops;
  if (bytes > 0.0) arguments["bytes"] = bytes;
  if (seconds > 0.0 && flops > 0.0) arguments["GFLOP/s"] = flops / seconds * 1e-9;
  if (seconds > 0.0 && bytes > 0.0) arguments["GB/s"] = bytes / seconds * 1e-9;
  return arguments;
}

}  // namespace

StepProfile::StepProfile(ProfileOptions options, std::span<const std::filesystem::path> read)
    : options_(std::move(options)), file_("--profile", options_.file, read) {}

StepProfile::~StepProfile() {
  if (profile::active()) profile::stop();  // the run has failed
}

void StepProfile::begin_step() {
  ++step_;
  if (within() && !profile::active()) profile::start();
}

void StepProfile::end_step() {
  if (profile::active() && step_ + 1 == options_.first + options_.steps) events_ = profile::stop();
}

std::string StepProfile::finish() {
  if (profile::active()) events_ = profile::stop();
  file_.write(chrome_trace(events_));
  if (events_.empty()) {
    return fmt::format("profile  {} is empty: the run had {} steps, and the profile starts at step {} of it",
                       options_.file.string(), step_, options_.first);
  }
  return fmt::format("profile  {}\n         {} holds the spans; ui.perfetto.dev and chrome://tracing show it",
                     phases_text(events_), options_.file.string());
}

std::string chrome_trace(const std::vector<Event>& events) {
  std::vector<Event> sorted = events;
  std::ranges::stable_sort(sorted, outer_first);
  Json out{{"displayTimeUnit", "ms"}, {"traceEvents", Json::array()}};
  const auto microseconds = [](profile::Clock::duration d) {
    return std::chrono::duration<double, std::micro>(d).count();
  };
  for (const Event& event : sorted) {
    Json entry{{"name", event.name},
               {"cat", event.is_kernel() ? "kernel" : "phase"},
               {"ph", "X"},
               {"ts", microseconds(event.begin - sorted.front().begin)},
               {"dur", microseconds(event.end - event.begin)},
               {"pid", 1},
               {"tid", event.thread}};
    if (event.is_kernel()) entry["args"] = arguments_of(event);
    out["traceEvents"].push_back(std::move(entry));
  }
  return json_text(out) + "\n";
}

std::string phases_text(const std::vector<Event>& events) {
  std::vector<Event> sorted;
  std::ranges::copy_if(events, std::back_inserter(sorted), [](const Event& e) { return e.thread == 0; });
  std::ranges::stable_sort(sorted, outer_first);

  std::map<std::string, double> phases;  // seconds in a phase and in none within it
  double kernels = 0.0, total = 0.0;
  std::int64_t steps = 0;
  std::vector<const Event*> open;  // the spans that the next one may lie in
  for (const Event& event : sorted) {
    while (!open.empty() && open.back()->end <= event.begin) open.pop_back();
    const Event* const around = open.empty() ? nullptr : open.back();
    const double seconds = seconds_of(event);
    if (!event.is_kernel()) {
      phases[event.name] += seconds;
      if (around != nullptr) phases[around->name] -= seconds;
    } else if (around == nullptr || !around->is_kernel()) {
      kernels += seconds;
    }
    if (around == nullptr) {
      total += seconds;
      ++steps;
    }
    open.push_back(&event);
  }

  std::vector<std::pair<double, std::string>> shares;
  for (const auto& [name, seconds] : phases) shares.emplace_back(seconds / total, name == "step" ? "the rest" : name);
  std::ranges::sort(shares, std::greater<>());
  std::string text = fmt::format("{:.2f} ms a step, {:.1f} % in kernels:", 1e3 * total / static_cast<double>(steps),
                                 100.0 * kernels / total);
  for (const auto& [share, name] : shares) text += fmt::format(" {} {:.1f} %,", name, 100.0 * share);
  text.pop_back();
  return text;
}

}  // namespace monge::train
