// Models as Hugging Face's `transformers` describe them: which of Monge's are the same, and where each tensor is.
//
//   gpt2    model.position learned, norm layernorm, mlp gelu
//   llama   model.position rope, norm rmsnorm, mlp swiglu; shared key heads
//
// Monge's projections lie on top of each other, (out, in), and rope turns the halves of a head against each other, as
// llama does; gpt2 keeps its matrices as (in, out).
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/shape.h"
#include "train/config/config.h"

namespace monge::tools {

/// A tensor of a Hugging Face model as a part of one of Monge's parameters.
struct ForeignTensor {
  std::string name;
  std::string parameter;                 // none: zeros, which Monge's model does without
  std::int64_t first_row = 0, rows = 0;  // of the parameter (out, in); 0 rows: all of it
  bool transposed = false;
  Shape zeros = {};  // where there is no parameter
};

struct ForeignModel {
  Json config;  // of config.json
  std::vector<ForeignTensor> tensors;
};

/// What this model is there. Throws InputError naming the key that stands in the way.
ForeignModel foreign_model(const train::Config& config, std::int64_t vocab);

/// The `model` section (YAML) and the vocabulary that a config.json stands for. `file` is for messages. Throws
/// InputError naming the key and what is allowed: another architecture, or a setting that Monge's models do not have.
struct ImportedModel {
  std::string yaml;
  std::int64_t vocab = 0;
};
ImportedModel imported_model(const Json& config, const std::string& file);

}  // namespace monge::tools
