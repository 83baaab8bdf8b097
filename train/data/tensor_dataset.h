// The dataset `tensors`: vectors from a safetensors file, whatever made them. The tensors `train.inputs` and
// `train.outputs`, (N, T, C), are drawn from with replacement, and `validation.inputs` and `validation.outputs` are the
// validation data. T and C are those of the model.
#pragma once

#include <memory>
#include <string>

#include "train/data/dataset.h"

namespace monge::train {

struct TensorOptions : Options {
  std::string path;
  void fields(Fields& f) override;
};

/// Throws InputError for a file that is not there, lacks a tensor or holds one of another shape, and for a model that
/// reads no vectors.
std::unique_ptr<Dataset> make_tensor_dataset(const TensorOptions& options, const DatasetContext& context);

}  // namespace monge::train
