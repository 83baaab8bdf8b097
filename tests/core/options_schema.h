// A small config schema with every sort of key, for the tests of reading, writing and describing options.
#pragma once

#include <string>
#include <vector>

#include "core/error.h"
#include "core/options/registry.h"
#include "core/options/yaml.h"

namespace monge::test {

struct Product {};  // what the registries would make; no test makes one

struct GeluOptions : Options {
  double ratio = 4.0;
  void fields(Fields& f) override {
    f("ratio", ratio, {.doc = "hidden width", .unit = "x width", .min = 0.0, .exclusive_min = true});
  }
};

struct SwigluOptions : Options {
  double ratio = 2.5;
  std::int64_t multiple = 8;
  void fields(Fields& f) override {
    f("ratio", ratio, {.unit = "x width", .min = 0.0, .exclusive_min = true});
    f("multiple", multiple, {.doc = "the hidden width is rounded up to one", .min = 1});
  }
  void check() const override {
    if (multiple == 13) throw InputError("multiple is 13, which brings bad luck; take another");
  }
};

inline Registry<Product>& mlps() {
  static Registry<Product>& registry = *[] {
    auto* r = new Registry<Product>("mlp");
    r->add<GeluOptions>("gelu", "two layers around a GELU", [](const GeluOptions&) { return nullptr; });
    r->add<SwigluOptions>("swiglu", "a gated layer", [](const SwigluOptions&) { return nullptr; });
    r->add<NoOptions>("none", "the identity", [](const NoOptions&) { return nullptr; });
    return r;
  }();
  return registry;
}

struct TextOptions : Options {
  std::vector<std::string> path;
  double fraction = 0.1;
  void fields(Fields& f) override {
    f("path", path, {.doc = "text files", .required = true});
    f("fraction", fraction, {.min = 0.0, .max = 0.5, .exclusive_min = true});
  }
  void check() const override {
    if (path.size() > 3) throw InputError("path lists more than 3 files");
  }
};

struct ChainOptions : Options {
  std::int64_t order = 2;
  double fraction = 0.2;
  void fields(Fields& f) override {
    f("order", order, {.unit = "symbols", .min = 0, .max = 9});
    f("fraction", fraction, {.min = 0.0, .max = 0.5});
  }
};

inline Registry<Product>& datasets() {
  static Registry<Product>& registry = *[] {
    auto* r = new Registry<Product>("dataset");
    r->add<TextOptions>("text", "text files", [](const TextOptions&) { return nullptr; });
    r->add<ChainOptions>("chain", "a Markov chain", [](const ChainOptions&) { return nullptr; });
    return r;
  }();
  return registry;
}

struct DataOptions : Options {
  Choice dataset;
  std::int64_t workers = 1;
  void fields(Fields& f) override {
    f(dataset, datasets(), {.doc = "what to train on", .required = true}, "kind");
    f("workers", workers, {.min = 1});
  }
};

struct ModelOptions : Options {
  std::int64_t width = 128;
  int heads = 4;
  double dropout = 0.0;
  bool bias = false;
  Choice mlp = mlps().choose("gelu");
  void fields(Fields& f) override {
    f("width", width, {.doc = "C", .unit = "elements", .min = 1});
    f("heads", heads, {.min = 1, .max = 64});
    f("dropout", dropout, {.unit = "probability", .min = 0.0, .max = 0.9});
    f("bias", bias, {});
    f("mlp", mlp, mlps(), {.doc = "the layer after attention"});
  }
  void check() const override {
    if (width % heads != 0) throw InputError(fmt::format("heads ({}) must divide width ({})", heads, width));
  }
};

struct GroupOptions : Options {
  std::string match = "*";
  double lr_scale = 1.0;
  Choice mlp = mlps().choose("none");  // a choice inside a list of maps
  void fields(Fields& f) override {
    f("match", match, {.doc = "pattern of names"});
    f("lr_scale", lr_scale, {.min = 0.0});
    f("mlp", mlp, mlps(), {});
  }
};

struct RunOptions : Options {
  std::string precision = "float32";
  std::string prompt;
  std::int64_t seed = 1337;
  double lr = 1e-3;
  std::vector<double> betas{0.9, 0.95};
  std::vector<std::string> tags;
  std::vector<GroupOptions> groups;
  void fields(Fields& f) override {
    f("precision", precision, {.choices = {"float32", "bfloat16"}});
    f("prompt", prompt, {.doc = "text a sample starts with"});
    f("seed", seed, {.min = 0, .max = any_integer});
    f("lr", lr, {.doc = "learning rate", .min = 0.0, .exclusive_min = true});
    f("betas", betas, {.min = 0.0, .max = 0.999});
    f("tags", tags, {});
    f("groups", groups, {.doc = "exceptions"});
  }
};

struct SchemaOptions : Options {
  DataOptions data;
  ModelOptions model;
  RunOptions run;
  void fields(Fields& f) override {
    f("data", data, {.doc = "the data"});
    f("model", model, {.doc = "the model"});
    f("run", run, {.doc = "the run"});
  }
};

/// Reads `yaml` as the file "run.yaml".
inline SchemaOptions read(std::string_view yaml, const std::vector<std::string>& overrides = {}) {
  SchemaOptions options;
  read_yaml_text(yaml, "run.yaml", overrides, options);
  return options;
}

}  // namespace monge::test
