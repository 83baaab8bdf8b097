// monge info [CONFIG [key.path=value ...]]: what a config describes, or what this build can do.
#include <map>

#include "core/backend.h"
#include "tools/commands.h"
#include "train/config.h"
#include "train/data/dataset.h"
#include "train/machine.h"
#include "train/memory_plan.h"
#include "train/progress.h"
#include "train/summary.h"

namespace monge::tools {
namespace {

struct Arguments {
  std::string config;
  std::vector<std::string> overrides;
};

void print_registry(const RegistryBase& registry) {
  fmt::print("{}\n", registry.what());
  for (const std::string& name : registry.names()) fmt::print("  {:<12} {}\n", name, registry.doc(name));
}

void describe_build() {
  fmt::print("devices\n");
  for (const char* name : {"cpu", "reference", "cuda"}) {
    try {
      fmt::print("  {:<12} {}\n", name, backend_of(parse_device(name)).description());
    } catch (const InputError& e) {
      fmt::print("  {:<12} not available: {}\n", name, e.what());
    }
  }
  for (const RegistryBase* registry : std::initializer_list<const RegistryBase*>{
           &train::datasets(), &train::tokenizers(), &nn::blocks(), &nn::attentions(), &nn::positions(), &nn::norms(),
           &nn::mlps(), &optim::rules(), &optim::transforms(), &optim::attention_updates(), &optim::schedules()}) {
    print_registry(*registry);
  }
}

/// The module that a parameter is listed under: "blocks.3" for "blocks.3.mlp.up.weight", "wte" for "wte.weight".
std::string layer_of(const std::string& name) {
  const std::size_t first = name.find('.');
  return name.substr(0, name.starts_with("blocks.") ? name.find('.', first + 1) : first);
}

void print_parameters(const nn::Gpt& model, const optim::Optimizer& optimizer) {
  std::map<std::string, optim::Target> settings;
  for (const optim::Target& target : optimizer.targets()) settings[target.entry.name] = target;
  std::map<std::string, std::int64_t> layers;
  const auto parameters = model.parameters();
  for (const auto& [name, parameter] : parameters) layers[layer_of(name)] += parameter->shape().numel();
  std::string layer;
  for (const auto& [name, parameter] : parameters) {
    if (layer_of(name) != layer) {
      layer = layer_of(name);
      fmt::print("{}: {} parameters\n", layer, train::thousands(layers[layer]));
    }
    fmt::print("  {:<36} {:<14} {:<10} lr x {}, weight decay {}\n", name, parameter->shape().str(),
               nn::name_of(parameter->role()), settings[name].lr_scale, settings[name].weight_decay);
  }
}

void describe_config(const Arguments& arguments) {
  const train::Config config = train::load_config(arguments.config, arguments.overrides);
  train::use_threads(config.train.threads);
  const auto seed = static_cast<std::uint64_t>(config.train.seed);
  const auto dataset = train::datasets().make(config.data, {.context = config.model.context, .seed = seed});
  nn::Gpt model(config.model, dataset->vocab());
  model.set_recompute(config.train.recompute);
  model.set_head_chunk(config.train.head_chunk);
  nn::ParameterStore store(model, parse_device(config.device), train::precision_of(config), seed);
  const optim::Optimizer optimizer(config.optimizer, model, store, config.train.steps);

  print_parameters(model, optimizer);
  const double flops = model.flops_per_token(config.model.context);
  const std::int64_t tokens = config.train.batch * config.train.accumulate * config.model.context;
  fmt::print("\ndevice   {}\n", store.values().backend().description());
  fmt::print("data     {}\n", dataset->description());
  fmt::print("model    {}\n", train::parameters_text(model));
  fmt::print("compute  {}FLOP per token, forward and backward (6 N + 6 L C T), {}FLOP per step of {} tokens\n",
             train::count_text(flops), train::count_text(flops * static_cast<double>(tokens)),
             train::thousands(tokens));
  fmt::print("{}\n", train::groups_text(optimizer));
  for (const std::string& note : optimizer.notes()) fmt::print("note     {}\n", note);
  fmt::print("{}\n", train::memory_text(train::plan_memory(model, store, optimizer, config.train.batch)));
}

}  // namespace

void add_info(Command& program) {
  auto a = std::make_shared<Arguments>();
  Command command = program.subcommand(
      "info", "Parameters, FLOPs and memory of a config without training; without one, what this build can do");
  command.option("config", a->config, "YAML file");
  command.option("overrides", a->overrides, "key.path=value: settings that replace those of the file");
  command.action([a] { a->config.empty() ? describe_build() : describe_config(*a); });
}

}  // namespace monge::tools
