// How many processors a process may use, by its control groups; files as the kernel shows them.
#include "tools/processors.h"

#include <gtest/gtest.h>

#include "support/program.h"

namespace monge::tools {
namespace {

using test::write_file;

class Quota : public testing::Test {
 protected:
  void file(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories((root.path() / path).parent_path());
    write_file(root.path() / path, text);
  }
  std::optional<double> quota() const { return processor_quota(root.path()); }
  test::TempDirectory root;
};

TEST_F(Quota, IsTheSmallestOfTheGroupAndThoseAboveIt) {
  file("proc/self/cgroup", "0::/outer/inner\n");
  EXPECT_EQ(quota(), std::nullopt);
  file("sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), std::nullopt);
  file("sys/fs/cgroup/outer/cpu.max", "150000 100000\n");
  EXPECT_EQ(quota(), 1.5);
  file("sys/fs/cgroup/outer/inner/cpu.max", "50000 100000\n");
  EXPECT_EQ(quota(), 0.5);
  file("sys/fs/cgroup/outer/inner/cpu.max", "400000 100000\n");
  EXPECT_EQ(quota(), 1.5);
}

// A container sees its own group as the mount, under a path of the host that is not there.
TEST_F(Quota, OfAContainer) {
  file("proc/self/cgroup", "0::/system.slice/docker-0123.scope\n");
  file("sys/fs/cgroup/cpu.max", "200000 100000\n");
  EXPECT_EQ(quota(), 2.0);
}

TEST_F(Quota, OfVersion1) {
  file("proc/self/cgroup", "12:memory:/a\n4:cpu,cpuacct:/a\n1:name=systemd:/b\n0::/\n");
  file("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n");
  file("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), std::nullopt);
  file("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "250000\n");
  EXPECT_EQ(quota(), 2.5);
}

TEST_F(Quota, NonsenseIsNone) {
  for (const char* text : {"", "cgroup", "::", "0::/a/b\n"}) {
    file("proc/self/cgroup", text);
    file("sys/fs/cgroup/a/b/cpu.max", "quota period\n");
    EXPECT_EQ(quota(), std::nullopt) << text;
  }
}

TEST(Threads, AreThoseOfTheAffinity) {
  const test::Program program;
  program.write_config();
  const auto device = [&](const std::string& before) {
    const std::string out = program.run("info", "unset OMP_NUM_THREADS; " + before).out;
    const std::size_t at = out.find("  cpu ");
    return out.substr(at, out.find('\n', at) - at);
  };
  EXPECT_NE(device("set -- $(taskset -pc $$ | grep -o '[0-9]*$'); taskset -pc $1 $$ >/dev/null; ").find(" 1 thread,"),
            std::string::npos);
  EXPECT_NE(device("export OMP_NUM_THREADS=3; ").find(" 3 threads,"), std::string::npos);
}

// The program starts itself once more with the variable; what the user has said stands.
TEST(Threads, SleepSoonWhileTheyWait) {
  const test::Program program;
  const auto spins = [&](const std::string& before) {
    const test::Result result =
        program.run("info", "unset OMP_WAIT_POLICY GOMP_SPINCOUNT; " + before + "export OMP_DISPLAY_ENV=verbose; ");
    const std::size_t at = result.err.rfind("GOMP_SPINCOUNT = ");
    return at == std::string::npos ? "" : result.err.substr(at, result.err.find('\n', at) - at);
  };
  EXPECT_EQ(spins(""), "GOMP_SPINCOUNT = '1000'");
  EXPECT_EQ(spins("export GOMP_SPINCOUNT=77; "), "GOMP_SPINCOUNT = '77'");
  EXPECT_EQ(spins("export OMP_WAIT_POLICY=passive; "), "GOMP_SPINCOUNT = '0'");
}

}  // namespace
}  // namespace monge::tools
