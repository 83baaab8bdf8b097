// "Did you mean": the candidate that a misspelt word most likely stands for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace monge {

/// How many letters must be inserted, removed, replaced or swapped with their neighbour to turn `a` into `b`.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// ". Did you mean 'x'?" for the closest candidate, or "" when none is close.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

/// The same for a key of a configuration, which may also be called as other programs call it ("n_layer").
std::string did_you_mean_key(std::string_view key, const std::vector<std::string>& candidates);

}  // namespace monge
