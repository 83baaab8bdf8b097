// The cpu backend: oneDNN for products, Highway SIMD and OpenMP for the rest. f32 and bf16 storage.
#pragma once

#include <memory>

#include "core/backend.h"

namespace monge {

std::unique_ptr<Backend> make_cpu_backend();

}  // namespace monge
