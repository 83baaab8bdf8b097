// gradcheck: analytic gradients against central differences, in double precision on the reference device.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/tape.h"

namespace monge::autograd {

struct GradcheckOptions {
  double step = 1e-5;       // of the central difference
  double tolerance = 1e-6;  // on |analytic - numeric| / max(1, largest |gradient| of that input)
  std::uint64_t seed = 1;   // of the random weights that turn the output into a scalar
};

struct GradcheckResult {
  bool ok = false;
  double worst = 0.0;   // largest relative error
  std::string message;  // where the worst is: input, element, analytic, numeric
};

/// Checks `f` at `inputs` (f64 tensors on the reference device), for every element of every input. `f` must compute the
/// same each time it is called. Throws std::invalid_argument for inputs of another dtype or device.
GradcheckResult gradcheck(const std::function<Var(const std::vector<Var>&)>& f, const std::vector<Tensor>& inputs,
                          const GradcheckOptions& options = {});

}  // namespace monge::autograd
