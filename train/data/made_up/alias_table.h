// AliasTable: draws from a fixed finite law in constant time.
//
// Walker, "An efficient method for generating discrete random variables with general distributions", ACM TOMS 1977;
// built as in Vose, "A linear algorithm for generating random numbers with a given distribution", IEEE TSE 1991.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/random.h"

namespace monge::train {

class AliasTable {
 public:
  /// `probabilities`, at least one, sum to 1 up to rounding.
  explicit AliasTable(std::span<const double> probabilities);

  std::int32_t draw(RandomSequence& random) const {
    const double x = random.uniform() * static_cast<double>(columns_.size());
    const auto i = static_cast<std::int32_t>(x);
    const Column& column = columns_[static_cast<std::size_t>(i)];
    return x - i < column.keep ? i : column.other;
  }

 private:
  /// An equal share of the law: `keep` of it belongs to the outcome of that place, the rest to `other`.
  struct Column {
    double keep = 1.0;
    std::int32_t other = 0;
  };
  std::vector<Column> columns_;
};

}  // namespace monge::train
