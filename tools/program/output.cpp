#include "tools/program/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "core/error.h"

namespace monge::tools {
namespace {

[[noreturn]] void throw_not_written(int reason) {
  throw RunError(fmt::format("cannot write to standard output{}{}; what was printed is not complete",
                             reason != 0 ? ": " : "", reason != 0 ? std::strerror(reason) : ""));
}

}  // namespace

void hold_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) >= 0) continue;
    // Takes the lowest number that is free, which is this one, and is open the wrong way round.
    ::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

void keep_running_without_readers() { std::signal(SIGPIPE, SIG_IGN); }

void print_now(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw_not_written(errno);
  }
}

std::string refusal_text(const std::system_error& error) {
  if (std::ferror(stdout) == 0) return error.what();
  return fmt::format("cannot write to standard output: {}", error.code().message());
}

void finish_output() {
  const bool failed_before = std::ferror(stdout) != 0;
  if (std::fflush(stdout) != 0) throw_not_written(errno);
  if (failed_before) throw_not_written(0);
}

}  // namespace monge::tools
