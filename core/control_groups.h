// What the control groups that this process is in allow it (cgroup v2 and v1): the smallest of its own group's limit
// and those of the groups above it. `root` is the file system's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace monge {

/// Processors.
std::optional<double> processor_quota(const std::filesystem::path& root = "/");
/// Bytes of RAM.
std::optional<std::uint64_t> memory_quota(const std::filesystem::path& root = "/");

}  // namespace monge
