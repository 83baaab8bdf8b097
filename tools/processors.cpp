#include "tools/processors.h"

#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <system_error>

namespace fs = std::filesystem;

namespace monge::tools {
namespace {

/// A group's time per period in both of the forms that there are, as a number of processors.
std::optional<double> quota_of(const fs::path& group) {
  std::string quota;
  double period = 0.0;
  std::ifstream v2(group / "cpu.max");  // "50000 100000" or "max 100000"
  if (!(v2 >> quota >> period)) {
    std::ifstream v1_quota(group / "cpu.cfs_quota_us"), v1_period(group / "cpu.cfs_period_us");  // -1: none
    if (!(v1_quota >> quota) || !(v1_period >> period)) return std::nullopt;
  }
  const double time = std::strtod(quota.c_str(), nullptr);  // 0 of "max"
  if (time <= 0.0 || period <= 0.0) return std::nullopt;
  return time / period;
}

/// The smallest quota from `group`, a path below `mount`, up to the mount itself. In a container the path may be one of
/// the host, which is not there.
std::optional<double> quota_up_from(const fs::path& mount, fs::path group) {
  std::optional<double> least;
  for (;; group = group.parent_path()) {
    if (const auto quota = quota_of(mount / group)) least = std::min(least.value_or(*quota), *quota);
    if (group.empty()) return least;
  }
}

}  // namespace

void let_waiting_threads_sleep(char** argv) {
  // What libgomp itself takes once it knows of more threads than processors.
  constexpr const char* spins = "1000";
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error || ::setenv("GOMP_SPINCOUNT", spins, 0) != 0) return;
  ::execv(program.c_str(), argv);  // returns where it fails: then threads spin
}

std::optional<double> processor_quota(const fs::path& root) {
  std::optional<double> least;
  std::ifstream groups(root / "proc/self/cgroup");  // "0::/a/b" (v2), "4:cpu,cpuacct:/a/b" (v1)
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v2 = controllers.empty();
    if (!v2 && ("," + controllers + ",").find(",cpu,") == std::string::npos) continue;
    const fs::path below = fs::path(line.substr(second + 1)).relative_path();
    const fs::path mounts = root / "sys/fs/cgroup";
    for (const fs::path& mount : {v2 ? mounts : mounts / controllers, v2 ? mounts / "unified" : mounts / "cpu"}) {
      if (const auto quota = quota_up_from(mount, below)) least = std::min(least.value_or(*quota), *quota);
    }
  }
  return least;
}

int default_threads() {
  constexpr int most = 1024;
  const int threads = std::min(omp_get_max_threads(), most);  // OMP_NUM_THREADS, else the affinity's processors
  const auto quota = std::getenv("OMP_NUM_THREADS") != nullptr ? std::nullopt : processor_quota();
  return quota ? std::clamp(static_cast<int>(std::lround(std::min<double>(*quota, most))), 1, threads) : threads;
}

}  // namespace monge::tools
