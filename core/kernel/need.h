// What a check asks of a call, with the reason as a format string. A header of its own, since nvcc does not compile fmt
// and sees call.h.
#pragma once

#include "core/error.h"
#include "core/kernel/call.h"

namespace monge::kernel {

/// Throws unless `ok`: the reason, then every tensor of the call.
template <class... Values>
void need(const Call& call, bool ok, fmt::format_string<Values...> reason, Values&&... values) {
  if (!ok) [[unlikely]] {
    call.fail(fmt::format(reason, std::forward<Values>(values)...));
  }
}

}  // namespace monge::kernel
