// What a process may use by its control groups; files as the kernel shows them.
#include "core/control_groups.h"

#include <gtest/gtest.h>

#include "support/temp_directory.h"

namespace monge {
namespace {

using test::write_file;

class ControlGroups : public testing::Test {
 protected:
  void file(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories((root.path() / path).parent_path());
    write_file(root.path() / path, text);
  }
  std::optional<double> quota() const { return processor_quota(root.path()); }
  std::optional<std::uint64_t> memory() const { return memory_quota(root.path()); }
  test::TempDirectory root;
};

TEST_F(ControlGroups, IsTheSmallestOfTheGroupAndThoseAboveIt) {
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
TEST_F(ControlGroups, OfAContainer) {
  file("proc/self/cgroup", "0::/system.slice/docker-0123.scope\n");
  file("sys/fs/cgroup/cpu.max", "200000 100000\n");
  EXPECT_EQ(quota(), 2.0);
}

TEST_F(ControlGroups, OfVersion1) {
  file("proc/self/cgroup", "12:memory:/a\n4:cpu,cpuacct:/a\n1:name=systemd:/b\n0::/\n");
  file("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n");
  file("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), std::nullopt);
  file("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "250000\n");
  EXPECT_EQ(quota(), 2.5);
}

TEST_F(ControlGroups, NonsenseIsNone) {
  for (const char* text : {"", "cgroup", "::", "0::/a/b\n"}) {
    file("proc/self/cgroup", text);
    file("sys/fs/cgroup/a/b/cpu.max", "quota period\n");
    EXPECT_EQ(quota(), std::nullopt) << text;
  }
}

TEST_F(ControlGroups, LimitMemory) {
  file("proc/self/cgroup", "0::/outer/inner\n");
  EXPECT_EQ(memory(), std::nullopt);
  file("sys/fs/cgroup/outer/inner/memory.max", "max\n");
  EXPECT_EQ(memory(), std::nullopt);
  file("sys/fs/cgroup/outer/memory.max", "8589934592\n");
  EXPECT_EQ(memory(), 8589934592U);
  file("sys/fs/cgroup/outer/inner/memory.max", "4096\n");
  EXPECT_EQ(memory(), 4096U);
}

TEST_F(ControlGroups, LimitMemoryInVersion1) {
  file("proc/self/cgroup", "12:cpu:/b\n4:memory:/a\n");
  file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");  // none
  file("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000000\n");
  file("sys/fs/cgroup/memory/b/memory.limit_in_bytes", "1000\n");
  EXPECT_EQ(memory(), 1000000U);
}

}  // namespace
}  // namespace monge
