#include "tools/compare/runs/child_process.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "train/folder/run_summary.h"

namespace monge::compare {
namespace {

/// Pointers as exec wants them.
std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

/// This process's environment, but for how OpenMP uses the processor: threads that spin while they wait would take it
/// from the other runs.
std::vector<std::string> environment(const ProcessorUse& use) {
  std::vector<std::string> out{fmt::format("OMP_NUM_THREADS={}", use.threads), "OMP_WAIT_POLICY=passive"};
  if (use.shares_cores) out.push_back(fmt::format("{}=1", train::shares_cores_variable));
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text(*variable);
    const std::string name = text.substr(0, text.find('='));
    if (name != "OMP_NUM_THREADS" && name != "OMP_WAIT_POLICY" && name != train::shares_cores_variable) {
      out.push_back(text);
    }
  }
  return out;
}

cpu_set_t set_of(const std::vector<int>& cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  return set;
}

/// The new process from its birth to exec: system calls only, since other threads may have held locks.
[[noreturn]] void become(char** arguments, char** variables, const cpu_set_t* cores, int log, pid_t parent) {
  constexpr int not_started = 127;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(not_started);  // the parent died before this was heard
  ::setpgid(0, 0);
  if (cores != nullptr) ::sched_setaffinity(0, sizeof(*cores), cores);  // where refused, the summary says so
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::execvpe(arguments[0], arguments, variables);
  ::_exit(not_started);
}

}  // namespace

ChildProcess::ChildProcess(std::vector<std::string> command, const ProcessorUse& use,
                           const std::filesystem::path& log) {
  std::vector<std::string> variables = environment(use);
  const cpu_set_t cores = set_of(use.cores);
  const std::vector<char*> argv = pointers(command), envp = pointers(variables);
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  const pid_t parent = ::getpid();
  pid_ = out < 0 ? -1 : ::fork();
  if (pid_ == 0) {
    become(const_cast<char**>(argv.data()), const_cast<char**>(envp.data()), use.cores.empty() ? nullptr : &cores, out,
           parent);
  }
  const int reason = errno;
  if (out >= 0) ::close(out);
  if (pid_ < 0)
    throw RunError(fmt::format("cannot start a run with log '{}': {}", log.string(), std::strerror(reason)));
}

ChildProcess::~ChildProcess() {
  if (code_) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

std::optional<int> ChildProcess::ended() {
  int status = 0;
  if (!code_ && ::waitpid(pid_, &status, WNOHANG) == pid_) {
    code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  return code_;
}

}  // namespace monge::compare
