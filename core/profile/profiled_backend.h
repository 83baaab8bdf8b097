// ProfiledBackend: a device whose kernel calls are spans of the profile under way. It passes every call on.
#pragma once

#include "core/backend.h"

namespace monge::profile {

/// `inner` outlives it. Thread-safe where `inner` is.
std::unique_ptr<Backend> make_profiled(Backend& inner);

}  // namespace monge::profile
