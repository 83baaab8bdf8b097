// What a run begins with, as checksums: two runs are compared in pairs where they begin with the same.
#pragma once

#include <string>

namespace monge::train {

struct Run;

struct StartIdentity {
  std::string weights;  // of the parameters' names and bytes before the first step
  std::string batches;  // of the first training sequences, in their order, and how many a step takes
};

/// Of a run that has not been restored from a checkpoint.
StartIdentity start_identity(const Run& run);

}  // namespace monge::train
