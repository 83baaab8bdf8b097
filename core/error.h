// The errors of Monge and the exit codes they become.
//
//   InputError   what the user gave is wrong (a key, a file, a value): exit code 2, nothing was written
//   RunError     a run could not go on (non-finite loss, no memory, disk full): exit code 3, the last checkpoint stays
//   std::invalid_argument   a programmer called an op with the wrong shapes, dtypes or devices
//
// A message says what was wrong, where (file, line, key, tensor), what is allowed and what to do.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

#include "core/shape.h"

namespace monge {

enum class ExitCode : int { done = 0, wrong_input = 2, run_failed = 3, interrupted = 130 };

/// Wrong input by the user of the program.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Wrong input in a section of options, at one key of it ("attention.bias").
class KeyError : public InputError {
 public:
  KeyError(std::string key, const std::string& problem) : InputError(problem), key_(std::move(key)) {}
  const std::string& key() const { return key_; }

 private:
  std::string key_;
};

/// A run that was well described but could not be finished.
class RunError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// No memory left; the message names the pool that asked and the setting that would shrink it.
class OutOfMemory : public RunError {
 public:
  using RunError::RunError;
};

/// Throws std::invalid_argument with a formatted message unless `ok`.
template <class... Args>
void require(bool ok, fmt::format_string<Args...> message, Args&&... args) {
  if (!ok) [[unlikely]] {
    throw std::invalid_argument(fmt::format(message, std::forward<Args>(args)...));
  }
}

}  // namespace monge

/// Shapes are given to require() as they are: the text is made when it is needed.
template <>
struct fmt::formatter<monge::Shape> : fmt::formatter<std::string> {
  auto format(const monge::Shape& shape, fmt::format_context& context) const {
    return fmt::formatter<std::string>::format(shape.str(), context);
  }
};
