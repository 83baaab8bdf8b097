// ChildProcess: another process, with its output in a file. It does not outlive this one.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace monge::compare {

/// How a process uses the processor.
struct ProcessorUse {
  std::int64_t threads = 1;
  std::vector<int> cores;     // those that it may run on; none: those of this process
  bool shares_cores = false;  // with others that compute: the child is told (train/folder/run_summary.h)
};

class ChildProcess {
 public:
  /// Starts `command`, a program found as a shell finds it and its arguments. Ctrl-C does not reach it. Throws
  /// RunError.
  ChildProcess(std::vector<std::string> command, const ProcessorUse& use, const std::filesystem::path& log);
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
