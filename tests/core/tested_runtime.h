// The runtime of the tests of single parts of the GPU backend: that of the emulated device, or (built without
// MONGE_SIMT) of a real one.
#pragma once

#include <memory>
#include <string>

#include "core/cuda/runtime.h"
#include "core/error.h"

namespace monge::MONGE_GPU {

/// One for all tests of a program; null with a reason where there is no device.
struct TestedRuntime {
  TestedRuntime() {
    try {
      runtime = std::make_unique<Runtime>(0);
    } catch (const InputError& e) {
      problem = e.what();
    }
  }
  std::string problem;
  std::unique_ptr<Runtime> runtime;
};

inline TestedRuntime& tested_runtime() {
  static TestedRuntime one;
  return one;
}

}  // namespace monge::MONGE_GPU
