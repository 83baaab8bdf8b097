// Runs of one process take turns step by step, with threads of their own, and give the bits of runs in processes of
// their own.
#include <sys/wait.h>
#include <unistd.h>

#include "support/tiny_run.h"

namespace monge::train {
namespace {

using Overrides = std::vector<std::string>;

/// Products whose sums are split among threads, so that their last bits depend on how many there are.
const Overrides one{"train.threads=1", "model.context=64", "model.width=32", "train.batch=64", "train.log_every=4"};
const Overrides two{"train.threads=2", "model.context=64", "model.width=32", "train.batch=64", "train.log_every=4"};
const Overrides other{"train.threads=3", "train.seed=5", "optimizer.attention=fisher", "model.dropout=0.3"};

/// Before anything in this process has started a thread: a child cannot use the threads of its parent.
void train_alone(const std::filesystem::path& out, const Overrides& overrides) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    test::train_tiny(out, overrides);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
}

TEST(Turns, GiveTheBitsOfProcessesOfTheirOwn) {
  const test::TempDirectory dir;
  const std::vector<std::pair<std::string, Overrides>> runs{{"one", one}, {"two", two}, {"other", other}};
  for (const auto& [name, overrides] : runs) train_alone(dir / ("alone_" + name), overrides);

  Progress silent(nullptr);
  std::vector<std::unique_ptr<Trainer>> trainers;
  for (const auto& [name, overrides] : runs) {
    trainers.push_back(std::make_unique<Trainer>(test::tiny_config(overrides), dir / name, false, silent));
  }
  while (!trainers.front()->done()) {
    for (const auto& trainer : trainers) EXPECT_TRUE(trainer->advance());
  }
  for (const auto& trainer : trainers) EXPECT_EQ(trainer->run(), RunEnd::finished);
  for (const auto& [name, overrides] : runs) {
    SCOPED_TRACE(name);
    test::expect_same_run(dir / ("alone_" + name), dir / name, 20);
  }
  const auto weights = [&](const char* run) {
    return test::read_file(test::checkpoint_dir(dir / run, 20) / "model.safetensors");
  };
  if (weights("one") == weights("two")) GTEST_SKIP() << "threads change no bit on this processor: nothing was shown";
}

TEST(Turns, EndWithTheThreadsThatWereThere) {
  const Backend& cpu = backend_of({DeviceKind::cpu, 0});
  const std::string before = cpu.description();
  const train::Run run(test::tiny_config({"train.threads=3"}));
  EXPECT_EQ(cpu.description(), before);
  {
    const train::Run::Turn turn(run);
    EXPECT_NE(cpu.description().find("3 threads"), std::string::npos) << cpu.description();
  }
  EXPECT_EQ(cpu.description(), before);
}

}  // namespace
}  // namespace monge::train
