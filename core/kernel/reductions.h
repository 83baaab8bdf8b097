// Sums and their backward. A sum over one dimension reads its tensor as (outer, n, inner).
#pragma once

#include "core/kernel/call.h"

namespace monge::kernel {

/// out (outer, inner) = [out +] factor * the sum of x (outer, n, inner) over n.
struct Sum {
  Tensor x;
  std::int64_t outer = 1, n = 1, inner = 1;
  double factor = 1.0;
  Tensor out;  // may be f32 when x is bf16
  bool accumulate = false;
};

/// out (outer, n, inner) = factor * x (outer, inner), repeated over n: the backward of Sum.
struct Repeat {
  Tensor x;
  std::int64_t outer = 1, n = 1, inner = 1;
  double factor = 1.0;
  Tensor out;
};

/// out (1) = <a, b> over equal numel; all f32 (reference: f64).
struct Dot {
  Tensor a, b, out;
};

Call check(const Sum& args, Device device);
Call check(const Repeat& args, Device device);
Call check(const Dot& args, Device device);

}  // namespace monge::kernel
