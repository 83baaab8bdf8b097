#include "train/config.h"

#include "core/device.h"
#include "core/error.h"
#include "core/options/yaml.h"
#include "train/data/dataset.h"

namespace monge::train {

void TrainOptions::fields(Fields& f) {
  f("steps", steps, {.doc = "optimizer steps of the run", .unit = "steps", .min = 1});
  f("batch", batch, {.doc = "sequences of one forward and backward pass", .unit = "sequences", .min = 1});
  f("accumulate", accumulate,
    {.doc = "passes whose gradients make one step; a step sees batch x accumulate sequences",
     .unit = "passes",
     .min = 1});
  f("precision", precision,
    {.doc = "of activations and products; bfloat16 keeps float32 master weights", .choices = {"float32", "bfloat16"}});
  f("seed", seed, {.doc = "of initial weights, data order and dropout", .min = 0});
  f("eval_every", eval_every,
    {.doc = "steps between two measurements of the validation loss; 0: only at the end", .unit = "steps", .min = 0});
  f("eval_batches", eval_batches,
    {.doc = "validation batches that a measurement reads; 0: all", .unit = "batches", .min = 0});
  f("checkpoint_every", checkpoint_every,
    {.doc = "steps between two checkpoints; 0: only at the end", .unit = "steps", .min = 0});
  f("keep_checkpoints", keep_checkpoints,
    {.doc = "newest checkpoints to keep, besides the best one", .unit = "checkpoints", .min = 1});
  f("log_every", log_every, {.doc = "steps between two lines of metrics", .unit = "steps", .min = 1});
  f("threads", threads, {.doc = "processor threads; 0: as many as the machine has", .unit = "threads", .min = 0});
  f("recompute", recompute,
    {.doc = "run each block again in the backward pass instead of keeping its activations: less memory, more time"});
  f("sample_tokens", sample_tokens,
    {.doc = "length of the sample that ends the run; 0: none", .unit = "tokens", .min = 0});
  f("sample_prompt", sample_prompt, {.doc = "text that the sample starts with; empty: a new line, or the first token"});
}

void Config::fields(Fields& f) {
  f("device", device, {.doc = "where to compute: cpu, cuda, cuda:N (the N-th GPU, from 0) or reference (slow, exact)"});
  f("data", data, datasets(), {.doc = "what to train on", .required = true});
  f("model", model, {.doc = "the transformer"});
  f("optimizer", optimizer, {.doc = "how gradients change the parameters"});
  f("train", train, {.doc = "the run: its length, batch and precision, and what is written when"});
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
    nn::Gpt gpt(model, 1);
    optim::attention_updates().make(optimizer.attention, optim::attention_layers(gpt));
  } catch (const KeyError&) {
    throw;
  } catch (const InputError& error) {
    throw KeyError("model", error.what());
  }
}

Config load_config(const std::string& path, const std::vector<std::string>& overrides) {
  Config config;
  read_yaml_file(path, overrides, config);
  return config;
}

nn::Precision precision_of(const Config& config) {
  return config.train.precision == "bfloat16" ? nn::Precision::bfloat16 : nn::Precision::float32;
}

}  // namespace monge::train
