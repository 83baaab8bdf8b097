#include "tools/interop/hugging_face.h"

#include <nlohmann/json.hpp>

#include "core/backend.h"
#include "core/error.h"
#include "core/safetensors.h"
#include "tools/interop/architecture.h"
#include "tools/interop/new_folder.h"
#include "tools/interop/tokenizer_json.h"
#include "train/folder/run_folder.h"

namespace fs = std::filesystem;

namespace monge::tools {
namespace {

constexpr Device host{DeviceKind::cpu};

/// The part of a parameter that a tensor is, on the host.
Tensor taken(const ForeignTensor& tensor, const nn::ParameterStore& store, DType dtype) {
  if (tensor.parameter.empty()) return Tensor::zeros(tensor.zeros, dtype, host);
  Tensor x = store.value(store.entry(tensor.parameter)).to(DType::f32, host);
  if (tensor.rows > 0) x = x.slice(tensor.first_row, tensor.first_row + tensor.rows);
  if (tensor.transposed) {
    const Tensor turned = Tensor::empty({x.size(1), x.size(0)}, x.dtype(), host);
    backend_of(host).strided_copy({.from = StridedView(x).transpose(0, 1), .to = turned});
    x = turned;
  }
  return x.to(dtype, host);
}

}  // namespace

void export_to_hugging_face(const train::SavedModel& saved, const fs::path& folder, DType dtype) {
  ForeignModel model = foreign_model(saved.config, saved.state.vocab);
  const std::string tokenizer = tokenizer_json(*saved.tokenizer);
  model.config["dtype"] = dtype == DType::bf16 ? "bfloat16" : "float32";

  const NewFolder out(folder);
  const auto write = [&](const char* name, const std::string& text) { train::write_text_file(out / name, text); };
  std::vector<NamedTensor> tensors;
  for (const ForeignTensor& tensor : model.tensors) {
    tensors.push_back({tensor.name, taken(tensor, *saved.store, dtype)});
  }
  write_safetensors(out / "model.safetensors", tensors, {{"format", "pt"}});
  write("config.json", json_text(model.config, 2) + "\n");
  write("generation_config.json", json_text({{"do_sample", false}}, 2) + "\n");
  write("tokenizer.json", tokenizer);
  write("tokenizer_config.json", json_text({{"tokenizer_class", "PreTrainedTokenizerFast"},
                                            {"model_max_length", saved.model->context()},
                                            {"clean_up_tokenization_spaces", false}},
                                           2) +
                                     "\n");
  out.finish();
}

}  // namespace monge::tools
