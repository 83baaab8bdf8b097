#include "train/data/made_up/alias_table.h"

namespace monge::train {

AliasTable::AliasTable(std::span<const double> probabilities) : columns_(probabilities.size()) {
  // Every column that holds less than its share is topped up from one that holds more.
  std::vector<std::size_t> poor;
  std::vector<std::size_t> rich;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    columns_[i] = {probabilities[i] * static_cast<double>(columns_.size()), static_cast<std::int32_t>(i)};
    (columns_[i].keep < 1.0 ? poor : rich).push_back(i);
  }
  while (!poor.empty() && !rich.empty()) {
    const std::size_t giver = rich.back();
    Column& taker = columns_[poor.back()];
    poor.pop_back();
    taker.other = static_cast<std::int32_t>(giver);
    columns_[giver].keep -= 1.0 - taker.keep;
    if (columns_[giver].keep < 1.0) {
      rich.pop_back();
      poor.push_back(giver);
    }
  }
  // What is left differs from a full share by rounding only.
  for (const std::size_t i : poor) columns_[i].keep = 1.0;
}

}  // namespace monge::train
