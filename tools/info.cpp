// monge info [CONFIG [key.path=value ...]]: what a config describes, or what this build can do.
#include <array>
#include <cctype>
#include <map>

#include "core/backend.h"
#include "core/dry_run.h"
#include "tools/commands.h"
#include "train/console/progress.h"
#include "train/console/summary.h"
#include "train/run.h"

namespace monge::tools {
namespace {

struct Arguments {
  std::string config;
  std::vector<std::string> overrides;
};

void print_row(const std::string& name, const std::string& about) {
  constexpr std::size_t column = 15;  // of what is said
  fmt::print("{}\n", train::wrapped(fmt::format("  {:<12} {}", name, about), column));
}

void print_registry(const RegistryBase& registry) {
  fmt::print("{}\n", registry.what());
  for (const std::string& name : registry.names()) print_row(name, registry.doc(name));
}

void describe_build() {
  fmt::print("devices\n");
  for (const char* name : {"cpu", "reference", "cuda"}) {
    try {
      print_row(name, backend_of(parse_device(name)).description());
    } catch (const InputError& e) {
      print_row(name, fmt::format("not available: {}", e.what()));
    }
  }
  for (const RegistryBase* registry : std::initializer_list<const RegistryBase*>{
           &train::datasets(), &train::tokenizers(), &nn::models(), &nn::blocks(), &nn::attentions(), &nn::positions(),
           &nn::norms(), &nn::mlps(), &optim::rules(), &optim::transforms(), &optim::attention_updates(),
           &optim::schedules()}) {
    print_registry(*registry);
  }
}

/// The layer that a parameter is listed under: its name up to the first number ("blocks.3" for
/// "blocks.3.mlp.up.weight"), or the first module ("wte" for "wte.weight").
std::string layer_of(const std::string& name) {
  std::size_t end = name.find('.');
  for (std::size_t dot = end; dot != std::string::npos; dot = name.find('.', dot + 1)) {
    if (std::isdigit(static_cast<unsigned char>(name[dot + 1])) != 0) return name.substr(0, name.find('.', dot + 1));
  }
  return name.substr(0, end);
}

void print_parameters(const nn::Model& model, const optim::Optimizer& optimizer) {
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
    fmt::print("  {:<34} {:<12} {:<9} lr x {}, decay {}\n", name, parameter->shape().str(),
               nn::name_of(parameter->role()), settings[name].lr_scale, settings[name].weight_decay);
  }
}

/// What the letters of a formula stand for: "; N parameters that are multiplied, L layers".
std::string letters_of(const std::string& formula) {
  constexpr std::array<std::pair<char, const char*>, 4> meanings{
      {{'N', "parameters that are multiplied"}, {'L', "layers"}, {'C', "width"}, {'T', "context"}}};
  std::string text;
  for (const auto& [letter, meaning] : meanings) {
    if (formula.find(letter) != std::string::npos)
      text += fmt::format("{} {} {}", text.empty() ? ";" : ",", letter, meaning);
  }
  return text;
}

void describe_config(const Arguments& arguments) {
  train::Config config = train::load_config(arguments.config, arguments.overrides);
  const DryRun dry_run(backend_of(parse_device(config.device)));  // models of any size are described
  const train::Run run(std::move(config));
  const train::Run::Turn turn(run);
  print_parameters(*run.model, *run.optimizer);
  const double flops = run.model->flops_per_token();
  const auto print = [](const std::string& text) { fmt::print("{}\n", train::wrapped(text)); };
  print(fmt::format("\ndevice   {}", run.backend().description()));
  print(fmt::format("data     {}", run.dataset->description()));
  print(fmt::format("model    {}", train::parameters_text(*run.model)));
  print(fmt::format("compute  {}FLOP per token, forward and backward ({}), {}FLOP per step of {} tokens{}",
                    train::count_text(flops), run.model->flops_formula(),
                    train::count_text(flops * static_cast<double>(run.tokens_per_step())),
                    train::thousands(run.tokens_per_step()), letters_of(run.model->flops_formula())));
  print(train::groups_text(*run.optimizer));
  for (const std::string& note : run.optimizer->notes()) print(fmt::format("note     {}", note));
  print(train::memory_text(run.plan));
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
