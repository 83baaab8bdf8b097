// Signals that ask for a stop.
#include "train/console/interrupt.h"

#include <gtest/gtest.h>
#include <signal.h>

namespace monge::train {
namespace {

// On the stack of the computation a handler's frame would spoil what product kernels keep below the stack pointer.
TEST(Interrupt, HandlesSignalsOnAStackOfTheirOwn) {
  const Interrupt interrupt;
  stack_t stack{};
  ASSERT_EQ(::sigaltstack(nullptr, &stack), 0);
  EXPECT_EQ(stack.ss_flags & SS_DISABLE, 0);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action {};
    ASSERT_EQ(::sigaction(signal, nullptr, &action), 0);
    EXPECT_TRUE((action.sa_flags & SA_ONSTACK) != 0 || action.sa_handler == SIG_IGN) << signal;
  }
  ::raise(SIGTERM);
  EXPECT_TRUE(interrupt.requested());
  EXPECT_THROW(stop_here_if_interrupted(), Interrupted);
}

}  // namespace
}  // namespace monge::train
