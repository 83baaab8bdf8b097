// Random numbers: core/random.h says which number an element gets.
#pragma once

#include "core/kernel/call.h"
#include "core/random.h"

namespace monge::kernel {

struct Uniform {
  Tensor x;
  double low = 0.0, high = 1.0;
  Random random;
};

struct Normal {
  Tensor x;
  double mean = 0.0, stddev = 1.0;
  Random random;
};

/// y = x * mask / (1 - p), mask_i = 1[to_unit(word_i) >= p]. Its own backward: the same call on the gradient.
struct Dropout {
  Tensor x;
  Tensor y;  // shape of x; may be x (in place)
  double p = 0.0;
  Random random;
};

Call check(const Uniform& args, Device device);
Call check(const Normal& args, Device device);
Call check(const Dropout& args, Device device);

}  // namespace monge::kernel
