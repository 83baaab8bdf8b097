// One head of attention by the kernel of the reference backend, in double precision.
#pragma once

#include "tools/verify/problems.h"

namespace monge::tools {

/// Output (queries, d) of queries (queries, d), keys and values (keys, d). Under `causal` query i sees keys 0 .. i.
Matrix attend(const RowMap& map, const Matrix& q, const Matrix& k, const Matrix& v, double scale, bool causal);

}  // namespace monge::tools
