// The device that a test of a backend runs on. The environment variable MONGE_TEST_DEVICE says which: "cpu" (the
// default), "emulated", a GPU emulated by simt/, or "cuda", a real one. Without one the program ends with the exit code
// that ctest knows as "skipped".
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

#include "core/error.h"
#include "simt/device.h"
#include "support/compare.h"

namespace monge::test {

inline const Device tested = [] {
  const char* const wanted = std::getenv("MONGE_TEST_DEVICE");
  const std::string name = wanted == nullptr ? "cpu" : wanted;
  if (name == "cpu") return cpu;
  const Device gpu{DeviceKind::cuda, 0};
  if (name == "emulated") {
    make_cuda_backends_with(simt::make_backend);
    return gpu;
  }
  try {
    backend_of(gpu);
  } catch (const InputError& problem) {
    std::printf("skipped: %s\n", problem.what());
    std::exit(77);
  }
  return gpu;
}();

/// Whether `tested` is the emulated GPU, which sees more than a real one shows.
inline const bool tested_is_emulated = [] {
  const char* const wanted = std::getenv("MONGE_TEST_DEVICE");
  return wanted != nullptr && std::string(wanted) == "emulated";
}();

}  // namespace monge::test
