// Caches: what layers and models remember of the tokens they have seen, for generation. Whoever reads a cache makes it,
// of a type of its own: keys and values, a recurrent state, an encoded source.
#pragma once

#include <cstdint>

#include "core/device.h"
#include "core/dtype.h"
#include "nn/batch.h"

namespace monge::nn {

class Cache {
 public:
  Cache() = default;
  virtual ~Cache() = default;
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;
};

/// What a cache is made for.
struct CacheContext {
  std::int64_t batch = 1;  // B, sequences
  DType dtype = DType::f32;
  Device device;
  Batch given = {};  // the fields of the batch beside the tokens: what is known from the start
};

}  // namespace monge::nn
