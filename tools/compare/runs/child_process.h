// ChildProcess: another process, with its output in a file. It does not outlive this one.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace monge::compare {

class ChildProcess {
 public:
  /// Starts `command`, a program found as a shell finds it and its arguments, with `threads` processor threads. Ctrl-C
  /// does not reach it. Throws RunError.
  ChildProcess(std::vector<std::string> command, std::int64_t threads, const std::filesystem::path& log);
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
