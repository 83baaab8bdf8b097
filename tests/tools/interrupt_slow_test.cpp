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
  ChildProcess(const Program& program, const std::string& arguments) : pid_(::fork()) {
    if (pid_ == 0) {
      ::execl("/bin/sh", "sh", "-c", program.command(arguments).c_str(), nullptr);
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
  for (const int signal : {SIGINT, SIGTERM}) {
    const std::string name = signal == SIGINT ? "int" : "term";
    const ChildProcess child(program, train_command + name);
    ASSERT_TRUE(has_lines(program / name, 20));
    child.send(signal);
    ASSERT_EQ(child.wait(), 130);
    EXPECT_HAS(test::read_file(program / "stdout"), "stopped after step");
    ASSERT_EQ(program.run(train_command + name + " --resume").code, 0);
    test::expect_same_run(program / "whole", program / name, steps);
  }
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
