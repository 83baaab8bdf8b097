// What the tests of errors share.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "core/error.h"

namespace monge {

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

/// The message of the error that `call` must throw.
template <class Error = InputError, class Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

}  // namespace monge
