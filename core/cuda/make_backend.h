// The way into this folder: everything else in it is private.
#pragma once

#include <memory>

#include "core/backend.h"

namespace monge::cuda {

/// The backend of GPU `index`. Throws InputError when it is not there or cannot run this build.
std::unique_ptr<Backend> make_backend(int index);

}  // namespace monge::cuda
