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

/// Makes a run of such a folder, with one checkpoint, of step 0, and no state of an optimizer. Weights may be f32,
/// bf16, f16 or f64, in one file or in several with an index. Throws InputError naming file and place: a model that is
/// not one of Monge's (architecture.h), a tensor that is missing, not known or of another shape, a damaged file.
void import_from_hugging_face(const std::filesystem::path& folder, const std::filesystem::path& run);

}  // namespace monge::tools
