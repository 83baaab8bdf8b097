// Interrupt: Ctrl-C as a request. While one lives, the first SIGINT or SIGTERM only sets a flag; the second kills.
#pragma once

#include <csignal>

namespace monge::train {

/// At most one at a time.
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
};

}  // namespace monge::train
