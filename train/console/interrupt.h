// Interrupt: Ctrl-C as a request. While one lives, the first SIGINT or SIGTERM only sets a flag; the second kills. A
// terminal that closes (SIGHUP) is such a request too, however often it says so, unless `nohup` has it ignored.
#pragma once

#include <csignal>
#include <exception>

namespace monge::train {

/// At most one at a time, made by the main thread: the system hands it what is sent to the process.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  bool requested() const;

 private:
  struct sigaction previous_int_ {};
  struct sigaction previous_term_ {};
  struct sigaction previous_hang_up_ {};
};

/// Work was given up because a stop was requested.
class Interrupted : public std::exception {
 public:
  const char* what() const noexcept override { return "stopped"; }
};

/// Long work that leaves nothing half done calls this now and then: throws Interrupted once the Interrupt that lives
/// has been requested. Costs nothing, and does nothing where none lives.
void stop_here_if_interrupted();

}  // namespace monge::train
