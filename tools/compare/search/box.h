// Box: the settings of a quasi-random search, a given number of points in the box that the axes span.
//
// Points of a Sobol sequence, shifted as a whole (Cranley and Patterson, "Randomization of number theoretic methods for
// multiple integration", SIAM J. Numer. Anal. 1976), so that every study tries others and all variants of a study the
// same ones. Such points cover a box more evenly than random ones (Bousquet et al., arXiv:1706.03200), and AlgoPerf
// tunes by them (Dahl et al., arXiv:2306.07179).
#pragma once

#include <cstdint>

#include "tools/compare/search/search.h"

namespace monge::compare {

/// `count` settings, fewer where the box holds no more that differ or are allowed. An axis runs from its least to its
/// largest value: in octaves, or linearly where one of them is not above zero. `shift` chooses the shift.
std::vector<Setting> box_settings(const std::vector<Axis>& axes, std::size_t count, std::uint64_t shift,
                                  const Allowed& allowed);

/// The keys of axes on which a setting lies in the outermost twentieth of its box, at either end. Nothing is below
/// zero.
std::vector<std::string> edges_of_box(const std::vector<Axis>& axes, const Setting& setting);

}  // namespace monge::compare
