// ChildProcess: another process of this same program, with its output in a file. It does not outlive this one.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace monge::compare {

class ChildProcess {
 public:
  /// Starts `monge arguments...` with `threads` processor threads. Ctrl-C does not reach it. Throws RunError.
  ChildProcess(const std::vector<std::string>& arguments, std::int64_t threads, const std::filesystem::path& log);
  /// Kills it and waits.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// Nothing while it runs; then its exit code, or 128 + n when signal n ended it.
  std::optional<int> ended();

 private:
  pid_t pid_;
  std::optional<int> code_;
};

}  // namespace monge::compare
