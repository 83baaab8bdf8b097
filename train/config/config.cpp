#include "train/config/config.h"

#include <algorithm>
#include <array>

#include "core/device.h"
#include "core/error.h"
#include "core/options/yaml.h"
#include "train/checkpoint/checkpoint.h"
#include "train/data/dataset.h"

namespace fs = std::filesystem;

namespace monge::train {

void TrainOptions::fields(Fields& f) {
  f("from", from,
    {.doc =
         "run folder or checkpoint whose weights, model and tokenizer it starts with; optimizer and schedule are new; "
         "empty: initial values"});
  f("steps", steps, {.doc = "optimizer steps of the run", .unit = "steps", .min = 1});
  f("batch", batch,
    {.doc = "sequences of one forward and backward pass", .unit = "sequences", .min = 1, .max = 1 << 20});
  f("accumulate", accumulate,
    {.doc = "passes whose gradients make one step; a step sees batch x accumulate sequences",
     .unit = "passes",
     .min = 1,
     .max = 1 << 20});
  f("precision", precision,
    {.doc = "of activations and products; bfloat16 keeps float32 master weights", .choices = {"float32", "bfloat16"}});
  f("seed", seed, {.doc = "of initial weights, data order and dropout", .min = 0, .max = any_integer});
  f("eval_every", eval_every,
    {.doc = "steps between two measurements of the validation loss; 0: only at the end", .unit = "steps", .min = 0});
  f("eval_batches", eval_batches,
    {.doc = "validation batches that a measurement reads; 0: all", .unit = "batches", .min = 0});
  f("checkpoint_every", checkpoint_every,
    {.doc = "steps between two checkpoints; 0: only at the end, but for keep_best", .unit = "steps", .min = 0});
  f("keep_checkpoints", keep_checkpoints,
    {.doc = "newest checkpoints to keep, besides the best one; 0: none is written, and the run cannot be resumed",
     .unit = "checkpoints",
     .min = 0});
  f("keep_best", keep_best,
    {.doc = "write a checkpoint whenever a validation loss is the lowest measured so far; false: the best one is the "
            "best of those that were due"});
  f("patience", patience,
    {.doc = "end the run after so many measurements of the validation loss without a new lowest one; 0: never",
     .unit = "measurements",
     .min = 0});
  f("log_every", log_every, {.doc = "steps between two lines of metrics", .unit = "steps", .min = 1});
  f("threads", threads,
    {.doc = "processor threads; 0: as many as the machine has for this process",
     .unit = "threads",
     .min = 0,
     .max = 1024});
  f("recompute", recompute,
    {.doc = "run each block again in the backward pass instead of keeping its activations: less memory, more time"});
  f("head_chunk", head_chunk,
    {.doc =
         "tokens whose logits are in memory together; the backward pass computes them again: less memory for a large "
         "vocabulary, more time; 0: all, once",
     .unit = "tokens",
     .min = 0});
  f("sample_tokens", sample_tokens,
    {.doc = "length of the sample that ends the run; 0: none", .unit = "tokens", .min = 0});
  f("sample_prompt", sample_prompt, {.doc = "text that the sample starts with; empty: a new line, or the first token"});
  f("tensorboard", tensorboard,
    {.doc =
         "write the metrics, the configuration and the sample as TensorBoard's events as well, into the run's folder"});
}

void TrainOptions::check() const {
  if (patience > 0 && !keep_best) {
    throw KeyError("patience", "needs keep_best: true, since the run then ends behind its best step");
  }
  if (patience > 0 && eval_every == 0) {
    throw KeyError("patience", "needs eval_every above 0: it counts measurements of the validation loss");
  }
}

constexpr std::array attention_paths{"fastest", "cudnn", "fused", "unfused"};

void CudaOptions::fields(Fields& f) {
  f("graph", graph,
    {.doc =
         "record the kernel calls of a step as a CUDA graph and replay it: the same numbers, less work for the host"});
  f("attention", attention,
    {.doc =
         "kernels to try first: cudnn (softmax, bfloat16), fused (the program's own, bfloat16), unfused (products and "
         "row kernels: everything), or whichever is fastest; a call that one refuses goes to the next",
     .choices = {attention_paths.begin(), attention_paths.end()}});
  f("tf32", tf32, {.doc = "float32 products on tensor cores, with mantissas of 10 bits"});
  f("tune", tune, {.doc = "time the algorithms of each product at its first use, instead of taking cuBLASLt's first"});
  f("tuning_file", tuning_file, {.doc = "where tuned choices are kept from run to run; empty: nowhere"});
}

void Config::fields(Fields& f) {
  f("device", device, {.doc = "where to compute: cpu, cuda, cuda:N (the N-th GPU, from 0) or reference (slow, exact)"});
  f("data", data, datasets(), {.doc = "what to train on", .required = true});
  f("model", model, nn::models(), {.doc = "what to train", .section = true});
  f("optimizer", optimizer, {.doc = "how gradients change the parameters"});
  f("train", train, {.doc = "the run: its length, batch and precision, and what is written when"});
  f("cuda", cuda, {.doc = "what only a GPU asks for"});
}

void Config::check() const {
  const bool is_reference = parse_device(device).kind == DeviceKind::reference;
  if (is_reference && train.precision != "float32") {
    throw InputError(fmt::format(
        "train.precision is {}, but device reference computes in double precision only; leave train.precision at "
        "float32, or take another device",
        train.precision));
  }
  // What depends on several sections shows when the model is put together, which takes no memory.
  try {
    const std::unique_ptr<nn::Model> made = nn::models().make(model, 1);
    optim::attention_updates().make(optimizer.attention, optim::attention_layers(*made));
  } catch (const KeyError&) {
    throw;
  } catch (const InputError& error) {
    throw KeyError("model", error.what());
  }
}

Config load_config(const std::string& path, const std::vector<std::string>& overrides) {
  Config config;
  read_yaml_file(path, overrides, config);
  if (config.train.from.empty() || !fs::exists(config.train.from)) return config;
  Config over_that;
  over_that.model = Checkpoint(find_checkpoint(config.train.from)).config().model;
  read_yaml_file(path, overrides, over_that);
  return over_that;
}

GpuSettings gpu_settings_of(const Config& config) {
  const auto path = std::ranges::find(attention_paths, config.cuda.attention) - attention_paths.begin();
  return {.attention = static_cast<GpuSettings::AttentionPath>(path),
          .tf32 = config.cuda.tf32,
          .tune = config.cuda.tune,
          .tuning_file = config.cuda.tuning_file};
}

namespace {

void add_files(const YamlNode& node, std::vector<std::filesystem::path>& files) {
  for (const YamlEntry& entry : node.entries) add_files(entry.value, files);
  for (const YamlNode& item : node.items) add_files(item, files);
  std::error_code ignored;
  const bool is_file = node.kind == YamlNode::Kind::scalar && std::filesystem::is_regular_file(node.text, ignored);
  if (is_file) files.emplace_back(node.text);
}

}  // namespace

std::vector<std::filesystem::path> data_files(const Config& config) {
  Config copy = config;
  std::vector<std::filesystem::path> files;
  add_files(*parse_yaml(write_yaml(copy), "configuration").find("data"), files);
  return files;
}

nn::Precision precision_of(const Config& config) {
  return config.train.precision == "bfloat16" ? nn::Precision::bfloat16 : nn::Precision::float32;
}

}  // namespace monge::train
