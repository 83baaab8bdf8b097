#include "train/console/interrupt.h"

#include <signal.h>

#include <cstddef>

namespace monge::train {
namespace {

volatile std::sig_atomic_t interrupted = 0;

/// Signals to this thread, the main one, are handled on a stack of their own: product kernels that oneDNN generates
/// keep numbers below the stack pointer, further than the system spares.
void handle_signals_elsewhere() {
  constexpr std::size_t size = std::size_t{64} << 10;  // a frame holds all vector registers
  alignas(16) static char memory[size];
  const stack_t stack{.ss_sp = memory, .ss_flags = 0, .ss_size = size};
  ::sigaltstack(&stack, nullptr);
}

}  // namespace

Interrupt::Interrupt() {
  interrupted = 0;
  handle_signals_elsewhere();
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  // The second signal finds the default again.
  action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART | SA_ONSTACK;
  sigaction(SIGINT, &action, &previous_int_);
  sigaction(SIGTERM, &action, &previous_term_);
  action.sa_flags = SA_RESTART | SA_ONSTACK;  // the system and the shell both say that a terminal has closed
  sigaction(SIGHUP, nullptr, &previous_hang_up_);
  if (previous_hang_up_.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);
}

Interrupt::~Interrupt() {
  sigaction(SIGINT, &previous_int_, nullptr);
  sigaction(SIGTERM, &previous_term_, nullptr);
  sigaction(SIGHUP, &previous_hang_up_, nullptr);
  interrupted = 0;
}

bool Interrupt::requested() const { return interrupted != 0; }

void stop_here_if_interrupted() {
  if (interrupted != 0) throw Interrupted();
}

}  // namespace monge::train
