#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "core/backend.h"
#include "core/error.h"
#include "core/options/yaml.h"
#include "core/safetensors.h"
#include "tools/interop/architecture.h"
#include "tools/interop/hugging_face.h"
#include "tools/interop/new_folder.h"
#include "train/data/text_dataset.h"
#include "train/folder/run_folder.h"

namespace fs = std::filesystem;

namespace monge::tools {
namespace {

constexpr Device host{DeviceKind::cpu};

std::string read_text(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!fs::is_regular_file(file) || !in) throw InputError(fmt::format("cannot read {}", file.string()));
  return {std::istreambuf_iterator<char>(in), {}};
}

Json read_object(const fs::path& file) {
  Json object = parse_json(read_text(file));
  if (!object.is_object()) throw InputError(fmt::format("{} does not hold a JSON object", file.string()));
  return object;
}

/// The tensors of a folder, in one file or in several.
class Weights {
 public:
  explicit Weights(const fs::path& folder) {
    const fs::path one = folder / "model.safetensors", index = folder / "model.safetensors.index.json";
    if (fs::exists(one)) {
      open(one);
      for (const auto& [name, entry] : files_.at(one).entries()) file_of_[name] = one;
    } else if (fs::exists(index)) {
      read_index(folder, index);
    } else {
      throw InputError(
          fmt::format("{} has neither model.safetensors nor model.safetensors.index.json; weights in other "
                      "formats become that by save_pretrained(folder) of transformers",
                      folder.string()));
    }
  }

  bool contains(const std::string& name) const { return file_of_.contains(name); }
  /// f32, on the host.
  Tensor take(const std::string& name, const Shape& shape) {
    left_out_.insert(name);
    const Tensor out = Tensor::empty(shape, DType::f32, host);
    files_.at(file_of_.at(name)).read(name, out);
    return out;
  }
  /// The first of those that nobody has taken.
  std::string untaken() const {
    for (const auto& [name, file] : file_of_) {
      if (!left_out_.contains(name) && !is_buffer(name)) return fmt::format("tensor '{}' of '{}'", name, file.string());
    }
    return {};
  }
  void leave(const std::string& name) { left_out_.insert(name); }

 private:
  void open(const fs::path& file) {
    if (!files_.contains(file)) files_.emplace(file, SafeTensors(file));
  }

  void read_index(const fs::path& folder, const fs::path& index) {
    const Json map = read_object(index);
    if (!map.contains("weight_map") || !map["weight_map"].is_object()) {
      throw InputError(fmt::format("{}: weight_map must be an object of tensors and their files", index.string()));
    }
    for (const auto& [name, value] : map["weight_map"].items()) {
      const fs::path file = value.is_string() ? value.get<std::string>() : "";
      if (file.empty() || file.has_parent_path()) {
        throw InputError(fmt::format("{}: weight_map.{} is {}, and must be a file of the folder", index.string(), name,
                                     json_text(value)));
      }
      open(folder / file);
      if (!files_.at(folder / file).contains(name)) {
        throw InputError(fmt::format("{}: weight_map says that tensor '{}' is in {}, which does not have it",
                                     index.string(), name, file.string()));
      }
      file_of_[name] = folder / file;
    }
  }

  /// Masks and tables that older versions of transformers kept.
  static bool is_buffer(const std::string& name) {
    return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") ||
           name.ends_with(".rotary_emb.inv_freq");
  }

  std::map<fs::path, SafeTensors> files_;
  std::map<std::string, fs::path> file_of_;
  std::set<std::string> left_out_;
};

/// The shape that a tensor has in the other program.
Shape shape_there(const ForeignTensor& tensor, const Tensor& parameter) {
  if (tensor.rows > 0 && parameter.rank() == 1) return {tensor.rows};
  if (tensor.rows > 0) return {tensor.rows, parameter.size(1)};
  if (tensor.transposed) return {parameter.size(1), parameter.size(0)};
  return parameter.shape();
}

/// The name under which the folder has a tensor: models saved without their head have no first part.
std::optional<std::string> name_in(const Weights& weights, const std::string& name) {
  if (weights.contains(name)) return name;
  for (const std::string prefix : {"transformer.", "model."}) {
    if (name.starts_with(prefix) && weights.contains(name.substr(prefix.size()))) return name.substr(prefix.size());
  }
  return std::nullopt;
}

void load(Weights& weights, const ForeignModel& model, const nn::ParameterStore& store, const fs::path& folder) {
  const bool qwen = model.config["model_type"] == "qwen2";
  for (const ForeignTensor& tensor : model.tensors) {
    const Tensor parameter = store.value(store.entry(tensor.parameter));
    const Tensor to = tensor.rows > 0 ? parameter.slice(tensor.first_row, tensor.first_row + tensor.rows) : parameter;
    const auto name = name_in(weights, tensor.name);
    if (!name && qwen && tensor.name.ends_with(".bias")) {  // it has those of q, k and v alone
      to.backend().fill({.x = to});
      continue;
    }
    if (!name) throw InputError(fmt::format("{} has no tensor '{}'", folder.string(), tensor.name));
    Tensor x = weights.take(*name, shape_there(tensor, parameter));
    if (tensor.transposed) {
      const Tensor turned = Tensor::empty(to.shape(), x.dtype(), host);
      backend_of(host).strided_copy({.from = StridedView(x).transpose(0, 1), .to = turned});
      x = turned;
    }
    to.backend().copy({.from = x, .to = to});
  }
  // A tied head is the embedding's table; some write it all the same.
  if (model.config["tie_word_embeddings"] == true) weights.leave("lm_head.weight");
  const std::string rest = weights.untaken();
  if (!rest.empty()) {
    throw InputError(fmt::format("{} is not one of the model that config.json describes", rest));
  }
}

}  // namespace

void import_from_hugging_face(const fs::path& folder, const fs::path& run_folder) {
  if (!fs::is_directory(folder)) throw InputError(fmt::format("there is no folder {}", folder.string()));
  const fs::path config_file = folder / "config.json";
  const Json config = read_object(config_file);
  const ImportedModel imported = imported_model(config, config_file.string());
  Weights weights(folder);

  const std::string yaml =
      fmt::format("data: {{kind: text, path: text.txt, tokenizer: {{kind: hf, path: {}}}}}\nmodel: {}\n",
                  json_text(fs::absolute(folder).string()), imported.yaml);
  train::Config read;
  read_yaml_text(yaml, config_file.string(), {}, read);
  const auto tokenizer =
      train::tokenizers().make(dynamic_cast<const train::TextOptions&>(*read.data.options).tokenizer, "");
  if (tokenizer->vocab() > imported.vocab) {
    throw InputError(fmt::format("the tokenizer of {} has {} tokens, and vocab_size of config.json is {}",
                                 folder.string(), tokenizer->vocab(), imported.vocab));
  }
  const train::Run run(read, imported.vocab);
  ForeignModel model = foreign_model(run.config, imported.vocab);
  model.config["model_type"] = config["model_type"];
  load(weights, model, *run.store, folder);

  const NewFolder out(run_folder);
  train::CheckpointState state;
  state.vocab = imported.vocab;
  state.tokenizer = tokenizer->save();
  state.config = write_yaml(read);
  train::write_text_file(out / "config.yaml", state.config);
  train::write_checkpoint(out / "checkpoints", state, *run.store, {});
  out.finish();
}

}  // namespace monge::tools
