// The dataset `pairs`: sources and their targets, from files.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "train/data/dataset.h"

namespace monge::train {

struct PairOptions : Options {
  std::vector<std::string> path;
  std::string source = "source", target = "target";
  Choice tokenizer = tokenizers().choose("char");
  bool packed = false;
  bool skip_long = false;
  double validation_fraction = 0.1;

  void fields(Fields& f) override;
};

/// A pair a line: source, tab, target; or, in files whose name ends in .jsonl, a JSON object with both. The last pairs
/// validate. Training draws pairs with replacement. Throws InputError, with file and line, for a line that is no pair,
/// a source or target that is empty, holds a tab or a line break, or does not fit.
std::unique_ptr<Dataset> make_pair_dataset(const PairOptions& options, const DatasetContext& context);

}  // namespace monge::train
