// Traces of training steps: valid JSON whose spans nest, phases that hold every kernel call, and a run that does not
// notice. Files that cannot be written, and runs that end before the trace does.
#include "train/profile.h"

#include <map>
#include <set>

#include "support/expect_error.h"
#include "support/tiny_run.h"

namespace monge::train {
namespace {

using nlohmann::json;
using test::read_file;
using test::TempDirectory;

/// Trains a tiny model (2 micro-batches a step, evaluation at step 10, a line at 9, a checkpoint at 8) with a profile.
void train_profiled(const std::filesystem::path& out, const ProfileOptions& options) {
  Progress silent(nullptr);
  StepProfile steps(options);
  Trainer trainer(test::tiny_config(), out, false, silent);
  trainer.run([] { return false; }, &steps);
}

struct Span {
  std::string name;
  bool kernel;
  double begin, end;
  std::vector<std::string> around;  // outermost first
};

/// The spans of the training thread. Expects that each lies wholly within those that are open where it begins.
std::vector<Span> nested(const json& trace) {
  std::vector<Span> spans;
  std::vector<std::size_t> open;
  for (const json& event : trace["traceEvents"]) {
    EXPECT_EQ(event["ph"], "X");
    if (event["tid"] != 0) continue;
    const double begin = event["ts"], end = begin + event["dur"].get<double>();
    EXPECT_GE(begin, spans.empty() ? 0.0 : spans.back().begin);
    constexpr double rounding = 1e-6;
    while (!open.empty() && spans[open.back()].end <= begin + rounding) open.pop_back();
    Span span{event["name"], event["cat"] == "kernel", begin, end, {}};
    for (const std::size_t i : open) {
      EXPECT_LE(end, spans[i].end + rounding) << event << " ends after the span around it";
      span.around.push_back(spans[i].name);
    }
    open.push_back(spans.size());
    spans.push_back(std::move(span));
  }
  return spans;
}

TEST(StepProfile, PhasesNestAndHoldEveryKernelCall) {
  const TempDirectory dir;
  train_profiled(dir / "run", {.file = dir / "trace.json"});
  const json trace = json::parse(read_file(dir / "trace.json"));
  std::map<std::string, int> count;
  using Path = std::vector<std::string>;
  const std::map<std::string, std::set<Path>> places{{"step", {{}}},
                                                     {"data", {{"step"}}},
                                                     {"gradients", {{"step"}}},
                                                     {"forward", {{"step", "gradients"}}},
                                                     {"backward", {{"step", "gradients"}}},
                                                     {"update", {{"step"}}},
                                                     {"log", {{"step"}}},
                                                     {"evaluate", {{"step", "log"}}},
                                                     {"checkpoint", {{"step"}}}};
  for (const Span& span : nested(trace)) {
    if (span.kernel) {
      EXPECT_GE(span.around.size(), 2u) << span.name << " lies in no phase";
      continue;
    }
    ++count[span.name];
    ASSERT_TRUE(places.contains(span.name)) << span.name;
    EXPECT_TRUE(places.at(span.name).contains(span.around)) << span.name;
  }
  // Steps 3 to 12: lines at 3, 6, 9, 10 (with evaluation), 12, and each step keeps its loss; checkpoints at 4, 8, 12
  // and, the best so far, 10.
  EXPECT_EQ(count, (std::map<std::string, int>{{"step", 10},
                                               {"data", 10},
                                               {"gradients", 10},
                                               {"forward", 20},
                                               {"backward", 20},
                                               {"update", 20},  // its numbers go to the device before the rest
                                               {"log", 15},
                                               {"evaluate", 1},
                                               {"checkpoint", 4}}));
}

TEST(StepProfile, KernelCallsSayWhatTheyDid) {
  const TempDirectory dir;
  train_profiled(dir / "run", {.file = dir / "trace.json", .first = 2, .steps = 1});
  const json trace = json::parse(read_file(dir / "trace.json"));
  int head = 0, updates = 0;
  for (const json& event : trace["traceEvents"]) {
    if (event["name"] == "matmul" && event["args"]["b^T"] == "(6, 16) f32") {  // logits of 4 x 8 tokens, 6 symbols
      ++head;
      EXPECT_EQ(event["args"]["out"], "(32, 6) f32");
      EXPECT_EQ(event["args"]["FLOP"], 2 * 32 * 6 * 16);
      EXPECT_EQ(event["args"]["bytes"], 4 * (32 * 16 + 6 * 16 + 32 * 6));
      EXPECT_NEAR(event["args"]["GFLOP/s"].get<double>() * event["dur"].get<double>(), 1e-3 * 2 * 32 * 6 * 16, 1e-6);
    }
    updates += event["name"] == "update" && event["cat"] == "kernel";
  }
  EXPECT_EQ(head, 2) << "one for each micro-batch";
  EXPECT_GT(updates, 0);
}

TEST(StepProfile, TheRunDoesNotNotice) {
  const TempDirectory dir;
  test::train_tiny(dir / "plain");
  train_profiled(dir / "profiled", {.file = dir / "trace.json", .first = 1, .steps = 20});
  test::expect_same_run(dir / "plain", dir / "profiled", 20);
}

TEST(StepProfile, ARunThatEndsEarlyLeavesWhatThereIs) {
  const TempDirectory dir;
  const auto steps_in = [&](std::int64_t first, std::int64_t steps) {
    train_profiled(dir / fmt::format("run_{}_{}", first, steps), {dir / "trace.json", first, steps});
    const json trace = json::parse(read_file(dir / "trace.json"));
    const auto& events = trace["traceEvents"];
    return std::ranges::count_if(events, [](const json& event) { return event["name"] == "step"; });
  };
  EXPECT_EQ(steps_in(19, 10), 2);
  EXPECT_EQ(steps_in(21, 10), 0);
}

TEST(StepProfile, AFileThatCannotBeWrittenIsRefusedAtOnce) {
  const TempDirectory dir;
  const auto refusal = [](const std::filesystem::path& file) -> std::string {
    try {
      const StepProfile steps({.file = file});
      return "none";
    } catch (const InputError& e) {
      return e.what();
    }
  };
  EXPECT_HAS(refusal(dir / "nowhere/trace.json"), "nowhere/trace.json: No such file");
  EXPECT_HAS(refusal(dir.path()), "Is a directory");
  EXPECT_EQ(refusal(dir / "trace.json"), "none");
  EXPECT_FALSE(std::filesystem::exists(dir / "trace.json")) << "before there is anything to write";
}

TEST(PhasesText, CountsAPhaseWithoutThoseInIt) {
  using namespace std::chrono_literals;
  const profile::Clock::time_point zero{};
  const auto phase = [&](const char* name, auto begin, auto end, int thread = 0) {
    return profile::Event{name, thread, zero + begin, zero + end, {}};
  };
  profile::Event kernel = phase("matmul", 10ms, 50ms), inner = phase("fill", 10ms, 20ms);
  kernel.call.name = kernel.name;
  inner.call.name = inner.name;
  const std::vector<profile::Event> events{inner,
                                           kernel,
                                           phase("backward", 10ms, 60ms),
                                           phase("gradients", 0ms, 80ms),
                                           phase("step", 0ms, 100ms),
                                           phase("make batch", 0ms, 90ms, 1),
                                           phase("step", 100ms, 200ms)};
  EXPECT_EQ(phases_text(events),
            "100.00 ms a step, 20.0 % in kernels: the rest 60.0 %, backward 25.0 %, gradients 15.0 %");
}

}  // namespace
}  // namespace monge::train
