#include "train/console/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string_view>

namespace monge::train {
namespace {

volatile std::sig_atomic_t interrupted = 0;

volatile std::sig_atomic_t somebody_watches = 0;

void on_signal(int) {
  interrupted = 1;
  if (somebody_watches == 0) return;
  constexpr std::string_view text = "\nstopping as soon as nothing is lost; a second signal stops at once\n";
  const int reason = errno;
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
  errno = reason;
}

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
  somebody_watches = ::isatty(STDERR_FILENO);
  handle_signals_elsewhere();
  struct sigaction action {};
  action.sa_handler = on_signal;
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
