// Copies and fills.
#pragma once

#include "core/kernel/call.h"

namespace monge::kernel {

/// Host to device. The host memory may be reused when the call returns.
struct CopyFromHost {
  const void* from = nullptr;  // to.bytes() bytes
  Tensor to;
};

/// Device to host; waits for the device.
struct CopyToHost {
  Tensor from;
  void* to = nullptr;  // from.bytes() bytes
};

/// Elementwise copy between equal numel; converts between float dtypes.
struct Copy {
  Tensor from, to;
};

struct Fill {
  Tensor x;
  double value = 0.0;
};

Call check(const CopyFromHost& args, Device device);
Call check(const CopyToHost& args, Device device);
Call check(const Copy& args, Device device);
Call check(const Fill& args, Device device);

}  // namespace monge::kernel
