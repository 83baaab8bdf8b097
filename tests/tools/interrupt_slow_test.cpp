// Runs that are stopped from outside: Ctrl-C finishes the step and writes a checkpoint; a kill loses what came after
// the last one. Either way --resume gives the run that was never stopped.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <thread>

#include "support/expect_error.h"
#include "support/program.h"
#include "support/tiny_run.h"

namespace monge {
namespace {

using test::Program;

constexpr int steps = 3000;
const std::string train_command =
    fmt::format("train config.yaml train.steps={} train.checkpoint_every=50 --out ", steps);

class ChildProcess {
 public:
  /// `before` is for the shell.
  ChildProcess(const Program& program, const std::string& arguments, const std::string& before = "") : pid_(::fork()) {
    if (pid_ == 0) {
      ::execl("/bin/sh", "sh", "-c", program.command(arguments, before).c_str(), nullptr);
      ::_exit(127);
    }
  }
  void send(int signal) const { ::kill(pid_, signal); }
  /// Exit code, or 128 + n when signal n ended it.
  int wait() const {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_;
};

/// Whether `condition` came true within a minute.
bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 6000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return condition();
}

/// Waits until the run has written `lines` lines of metrics.
bool has_lines(const std::filesystem::path& run, std::ptrdiff_t lines) {
  return eventually([&] {
    const std::string metrics = test::read_file(run / "metrics.jsonl");
    return std::count(metrics.begin(), metrics.end(), '\n') >= lines;
  });
}

TEST(Interrupted, CtrlCWritesACheckpointAndResumeGivesTheSameRun) {
  const Program program;
  program.write_config();
  ASSERT_EQ(program.run(train_command + "whole").code, 0);
  for (const auto& [signal, name] : {std::pair<int, std::string>{SIGINT, "int"}, {SIGTERM, "term"}, {SIGHUP, "hup"}}) {
    const ChildProcess child(program, train_command + name);
    ASSERT_TRUE(has_lines(program / name, 20));
    child.send(signal);
    if (signal == SIGHUP) child.send(signal);  // from the system and from the shell
    ASSERT_EQ(child.wait(), 130);
    EXPECT_HAS(test::read_file(program / "stdout"), "stopped after step");
    ASSERT_EQ(program.run(train_command + name + " --resume").code, 0);
    test::expect_same_run(program / "whole", program / name, steps);
  }
}

TEST(Interrupted, HangUpThatIsIgnoredStaysSo) {
  const Program program;
  program.write_config();
  const ChildProcess child(program, train_command + "run train.sample_tokens=0", "trap '' HUP; ");
  ASSERT_TRUE(has_lines(program / "run", 20));
  child.send(SIGHUP);
  EXPECT_EQ(child.wait(), 0);
}

// The line of the evaluation is owed, and written after the resume: the same metrics as without the stop.
TEST(Interrupted, AnEvaluationIsCutShort) {
  const Program program;
  program.write_config();
  const std::string command =
      "train config.yaml data.validation_windows=200000 train.steps=40 train.eval_every=20 train.log_every=7 --out ";
  for (const int step : {20, 40}) {
    const std::string name = fmt::format("cut_{}", step);
    const ChildProcess child(program, command + name);
    // The evaluation takes much longer than the steps before it.
    ASSERT_TRUE(has_lines(program / name, step == 20 ? 2 : 6));
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    const auto asked = std::chrono::steady_clock::now();
    child.send(SIGTERM);
    ASSERT_EQ(child.wait(), 130);
    EXPECT_LT(std::chrono::steady_clock::now() - asked, std::chrono::seconds(2));
    EXPECT_HAS(test::read_file(program / "stdout"), fmt::format("stopped after step {}", step));
    ASSERT_EQ(program.run(command + name + " --resume").code, 0);
  }
  test::expect_same_run(program / "cut_20", program / "cut_40", 40);
  EXPECT_EQ(test::metrics_of(program / "cut_20").size(), 7u);  // 7, 14, 20, 21, 28, 35, 40
}

TEST(Interrupted, LearningATokenizerIsCutShort) {
  const Program program;
  RandomSequence random(1, 1);
  std::string text;
  for (int i = 0; i < 30'000'000; ++i) text += static_cast<char>('a' + random.below(26));
  test::write_file(program / "text.txt", text);
  test::write_file(program / "config.yaml",
                   "data: {kind: text, path: text.txt, cache: cache, tokenizer: {kind: bpe, vocab: 60000}}\n"
                   "model: {layers: 1, heads: 1, width: 8, context: 8}\n");
  const ChildProcess child(program, "train config.yaml --out run");
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(program / "run"); }));
  std::this_thread::sleep_for(std::chrono::seconds(2));
  const auto asked = std::chrono::steady_clock::now();
  child.send(SIGTERM);
  EXPECT_EQ(child.wait(), 130);
  EXPECT_LT(std::chrono::steady_clock::now() - asked, std::chrono::seconds(5));
  EXPECT_FALSE(std::filesystem::exists(program / "run"));
  EXPECT_HAS(test::read_file(program / "stderr"), "stopped before the first step");
}

TEST(Interrupted, KillsAndResumesGiveTheSameRun) {
  const Program program;
  program.write_config();
  ASSERT_EQ(program.run(train_command + "whole").code, 0);
  RandomSequence random(static_cast<std::uint64_t>(::getpid()), 0);
  std::ptrdiff_t lines = 0;
  for (int kills = 0; kills < 5; ++kills) {
    const ChildProcess child(program, train_command + "parts --resume");
    lines += 20 + static_cast<std::ptrdiff_t>(random.below(100));
    ASSERT_TRUE(has_lines(program / "parts", lines)) << lines;
    child.send(SIGKILL);
    ASSERT_EQ(child.wait(), 128 + SIGKILL) << "the run must be longer than the test waits";
  }
  const test::Result last = program.run(train_command + "parts --resume");
  ASSERT_EQ(last.code, 0) << last.err;
  EXPECT_HAS(last.out, "continuing after step");
  test::expect_same_run(program / "whole", program / "parts", steps);
  for (const auto& entry : std::filesystem::directory_iterator(program / "parts/checkpoints")) {
    EXPECT_FALSE(entry.path().filename().string().starts_with(".")) << entry.path();
  }
}

}  // namespace
}  // namespace monge
