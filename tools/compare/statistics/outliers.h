// Outliers: values that do not fit the others of a sample.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace monge::compare {

/// The indices of at most a third of the values, the most extreme first, by the generalized extreme Studentized deviate
/// test (Rosner, "Percentage points for a generalized ESD many-outlier procedure", Technometrics 1983): of a normal
/// sample, any is named with a probability of about `level`. None of fewer than five values. Finite values; otherwise
/// throws std::invalid_argument.
std::vector<std::size_t> outliers(std::span<const double> values, double level);

}  // namespace monge::compare
