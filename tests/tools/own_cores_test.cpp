// Claims on processor cores: each core is one comparison's, a dead process holds none, and a run knows whether it has
// cores of its own.
#include "tools/compare/runs/own_cores.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <set>

#include "support/temp_directory.h"
#include "train/folder/run_summary.h"

namespace monge::compare {
namespace {

namespace fs = std::filesystem;

std::set<int> allowed() {
  cpu_set_t set;
  CPU_ZERO(&set);
  ::sched_getaffinity(0, sizeof(set), &set);
  std::set<int> out;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) out.insert(core);
  }
  return out;
}

class OwnCoresTest : public testing::Test {
 protected:
  void SetUp() override { ::setenv("XDG_RUNTIME_DIR", directory.path().c_str(), 1); }
  void TearDown() override { ::unsetenv("XDG_RUNTIME_DIR"); }

  test::TempDirectory directory;
  std::set<int> all = allowed();
};

TEST_F(OwnCoresTest, ACoreIsClaimedOnce) {
  const OwnCores most(all.size() - 1);
  EXPECT_EQ(most.cores().size(), all.size() - 1);
  {
    const OwnCores last(1);
    ASSERT_EQ(last.cores().size(), 1u);
    std::set<int> both(most.cores().begin(), most.cores().end());
    both.insert(last.cores().front());
    EXPECT_EQ(both, all);
    EXPECT_TRUE(OwnCores(1).cores().empty());
  }
  EXPECT_TRUE(OwnCores(2).cores().empty()) << "not a part of what is asked for";
  EXPECT_EQ(OwnCores(1).cores().size(), 1u) << "what could not be claimed as a whole is free";
}

TEST_F(OwnCoresTest, NoneWhereThereAreFewer) { EXPECT_TRUE(OwnCores(all.size() + 1).cores().empty()); }

TEST_F(OwnCoresTest, OnlyThoseThatTheProcessMayUse) {
  cpu_set_t before, one;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(before), &before), 0);
  CPU_ZERO(&one);
  CPU_SET(*all.rbegin(), &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(OwnCores(1).cores(), std::vector<int>{*all.rbegin()});
  EXPECT_TRUE(OwnCores(2).cores().empty());
  EXPECT_TRUE(train::has_own_cores(1));
  EXPECT_FALSE(train::has_own_cores(2));
  ::setenv(train::shares_cores_variable, "1", 1);
  EXPECT_FALSE(train::has_own_cores(1));
  ::unsetenv(train::shares_cores_variable);
  ASSERT_EQ(::sched_setaffinity(0, sizeof(before), &before), 0);
}

TEST_F(OwnCoresTest, ADeadProcessHoldsNone) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    const OwnCores cores(all.size());
    const char claimed = cores.cores().size() == all.size() ? 'y' : 'n';
    if (::write(ready[1], &claimed, 1) == 1) ::pause();
    ::_exit(0);
  }
  char claimed = '?';
  ASSERT_EQ(::read(ready[0], &claimed, 1), 1);
  EXPECT_EQ(claimed, 'y');
  EXPECT_TRUE(OwnCores(1).cores().empty());
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  EXPECT_EQ(OwnCores(all.size()).cores().size(), all.size());
}

TEST_F(OwnCoresTest, NoClaimsInADirectoryOfAnother) {
  fs::create_directory_symlink("/", directory / "monge");
  EXPECT_TRUE(OwnCores(1).cores().empty());
}

}  // namespace
}  // namespace monge::compare
