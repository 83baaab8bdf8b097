// Failure: what a command that cannot go on says, and its exit code.
#pragma once

#include <exception>
#include <string>

#include "core/error.h"

namespace monge::tools {

struct Failure {
  ExitCode code = ExitCode::run_failed;
  std::string message;

  /// As it is printed.
  std::string text() const { return fmt::format("monge: {}\n", message); }
};

/// Of an exception that a command has thrown.
Failure failure_of(const std::exception_ptr& thrown);

}  // namespace monge::tools
