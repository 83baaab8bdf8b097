// Program: the monge binary, or another one of the build, run in a directory of its own.
#pragma once

#include <fmt/format.h>
#include <sys/wait.h>

#include <cstdlib>
#include <string>

#include "support/temp_directory.h"

namespace monge::test {

struct Result {
  int code = -1;  // exit code; 128 + n when signal n ended it
  std::string out, err;
};

class Program {
 public:
  explicit Program(std::string binary = "monge") : binary_(std::move(binary)) {}

  std::filesystem::path operator/(const std::string& name) const { return directory_ / name; }

  const std::filesystem::path& path() const { return directory_.path(); }

  /// A run of a second or less, in config.yaml.
  void write_config() const {
    write_file(directory_ / "config.yaml",
               "data: {kind: markov, symbols: 6, order: 1, validation_windows: 10}\n"
               "model: {layers: 2, heads: 2, width: 16, context: 8}\n"
               "optimizer: {lr: 1.0e-2, schedule: {kind: cosine, warmup: 1}}\n"
               "train: {steps: 20, batch: 4, eval_every: 10, checkpoint_every: 4, log_every: 3, sample_tokens: 12, "
               "threads: 1}\n");
  }

  /// Runs `monge arguments` through the shell, which sees `before` first, and waits.
  Result run(const std::string& arguments, const std::string& before = "") const {
    const int status = std::system(command(arguments, before).c_str());
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return {code, read_file(directory_ / "stdout"), read_file(directory_ / "stderr")};
  }

  /// The shell command that `run` uses. The last process is the program itself.
  std::string command(const std::string& arguments, const std::string& before = "") const {
    return fmt::format("cd '{}' && {}exec '{}/{}' {} >stdout 2>stderr </dev/null", directory_.path().string(), before,
                       MONGE_BINARY_DIR, binary_, arguments);
  }

 private:
  std::string binary_;
  TempDirectory directory_;
};

}  // namespace monge::test
