// The cuda backend on the emulated device.
#pragma once

#include <memory>

#include "core/backend.h"

namespace monge::simt {

std::unique_ptr<Backend> make_backend(int index);

}  // namespace monge::simt
