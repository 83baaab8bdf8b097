// A trained model as a spline (Lai, Lim & Liu 2024, arXiv:2408.09624): with attention of relu, mlps of relu and no
// norms every logit is a piecewise polynomial along a line through input space, of degree 3^L for L layers: attention
// makes 3 d of a degree d, an mlp leaves it.
#pragma once

#include <filesystem>

#include "tools/verify/papers/spline.h"

namespace monge::tools {

/// Throws InputError unless the run's model is such a one. `planted`: overrides of its configuration, by which a test
/// makes it another.
Findings trained_spline_findings(const std::filesystem::path& run_or_checkpoint, std::uint64_t seed,
                                 const std::vector<std::string>& planted = {});

}  // namespace monge::tools
