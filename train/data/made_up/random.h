// The dataset `random`: independent, equally likely tokens. There is nothing to learn; it stands in for data of any
// vocabulary in measurements of speed and memory.
#pragma once

#include <cstdint>
#include <memory>

#include "train/data/dataset.h"

namespace monge::train {

struct RandomOptions : Options {
  std::int32_t symbols = 256;
  std::int64_t validation_windows = 16;

  void fields(Fields& f) override;
};

std::unique_ptr<Dataset> make_random_dataset(const RandomOptions& options, const DatasetContext& context);

}  // namespace monge::train
