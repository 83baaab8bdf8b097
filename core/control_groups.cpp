#include "core/control_groups.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>

namespace fs = std::filesystem;

namespace monge {
namespace {

/// The smallest of `limit(group)` for the groups of this process that `controller` limits. In a container the path of
/// a group may be one of the host, which is not there.
template <class T>
std::optional<T> least_limit(const fs::path& root, const std::string& controller,
                             const std::function<std::optional<T>(const fs::path& group)>& limit_of) {
  std::optional<T> least;
  const auto look = [&](const fs::path& mount, fs::path group) {
    for (;; group = group.parent_path()) {  // up to the mount itself
      if (const auto limit = limit_of(mount / group)) least = std::min(least.value_or(*limit), *limit);
      if (group.empty()) return;
    }
  };
  std::ifstream groups(root / "proc/self/cgroup");  // "0::/a/b" (v2), "4:cpu,cpuacct:/a/b" (v1)
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v2 = controllers.empty();
    if (!v2 && ("," + controllers + ",").find("," + controller + ",") == std::string::npos) continue;
    const fs::path group = fs::path(line.substr(second + 1)).relative_path();
    const fs::path mounts = root / "sys/fs/cgroup";
    look(v2 ? mounts : mounts / controllers, group);
    look(v2 ? mounts / "unified" : mounts / controller, group);
  }
  return least;
}

/// Time per period.
std::optional<double> processors_of(const fs::path& group) {
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

std::optional<std::uint64_t> memory_of(const fs::path& group) {
  for (const char* const name : {"memory.max", "memory.limit_in_bytes"}) {  // v2: a number or "max"; v1: none is huge
    std::uint64_t bytes = 0;
    if (std::ifstream(group / name) >> bytes && bytes > 0) return bytes;
  }
  return std::nullopt;
}

}  // namespace

std::optional<double> processor_quota(const fs::path& root) { return least_limit<double>(root, "cpu", processors_of); }

std::optional<std::uint64_t> memory_quota(const fs::path& root) {
  return least_limit<std::uint64_t>(root, "memory", memory_of);
}

}  // namespace monge
