// Folders of Hugging Face's `transformers`: config.json, model.safetensors and the files of a tokenizer.
#pragma once

#include <filesystem>

#include "core/dtype.h"
#include "train/checkpoint/saved_model.h"

namespace monge::tools {

/// Writes the model as a new folder: config.json, generation_config.json, model.safetensors in `dtype` (f32 or bf16),
/// tokenizer.json and tokenizer_config.json. Throws InputError for a model or a tokenizer that cannot be said there,
/// and where there is something at `folder`; RunError when it cannot be written. It appears as a whole.
void export_to_hugging_face(const train::SavedModel& saved, const std::filesystem::path& folder, DType dtype);

}  // namespace monge::tools
