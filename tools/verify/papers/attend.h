// One head of attention by the kernel of a backend, in double precision on the reference backend.
#pragma once

#include "tools/verify/problems.h"

namespace monge::tools {

/// Output (queries, d) of queries (queries, d), keys and values (keys, d). Under `causal` query i sees keys 0 .. i.
Matrix attend(const RowMap& map, const Matrix& q, const Matrix& k, const Matrix& v, double scale, bool causal);

/// What a prior adds to the scores of causal attention: of each distance and of each key (or empty), and minus slope
/// times the distance.
struct HeadPrior {
  Vector of_distance, of_key;
  double slope = 0.0;
};
/// Causal attention of softmax or another map with a prior. `device`: the reference, or the cpu in single precision.
Matrix attend(const RowMap& map, const Matrix& q, const Matrix& k, const Matrix& v, double scale,
              const HeadPrior& prior, Device device = {DeviceKind::reference, 0});

}  // namespace monge::tools
