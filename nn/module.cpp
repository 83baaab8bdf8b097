#include "nn/module.h"

#include "core/error.h"

namespace monge::nn {
namespace {

std::string join(const std::string& prefix, const std::string& name) {
  return prefix.empty() || name.empty() ? prefix + name : prefix + "." + name;
}

}  // namespace

std::string_view name_of(Role role) {
  constexpr std::string_view names[role_count] = {"matrix", "embedding", "head", "gain", "bias"};
  return names[static_cast<std::size_t>(role)];
}

const autograd::Var& Parameter::var() const {
  require(
      var_.defined(),
      "a parameter of shape {} has no memory: it is not among the parameters of the model (add_module was not called "
      "for the layer that holds it), or no ParameterStore of the model exists",
      shape_);
  return var_;
}

void Parameter::bind(autograd::Var var) {
  require(var.shape() == shape_, "a parameter of shape {} cannot be bound to {}", shape_, var.shape());
  var_ = std::move(var);
}

Parameter& Module::add_parameter(const std::string& name, Shape shape, Role role, Init init, std::vector<Part> parts) {
  parameters_.emplace_back(name, std::make_unique<Parameter>(shape, role, init, std::move(parts)));
  return *parameters_.back().second;
}

void Module::visit(const std::function<void(const std::string&, Module&)>& f) {
  const auto walk = [&f](const auto& self, const std::string& name, Module& module) -> void {
    f(name, module);
    for (const auto& [child_name, child] : module.children_) self(self, join(name, child_name), *child);
  };
  walk(walk, "", *this);
}

std::vector<NamedParameter> Module::parameters() const {
  std::vector<NamedParameter> out;
  const auto walk = [&out](const auto& self, const std::string& prefix, const Module& module) -> void {
    for (const auto& [name, parameter] : module.parameters_) out.push_back({join(prefix, name), parameter.get()});
    for (const auto& [name, child] : module.children_) self(self, join(prefix, name), *child);
  };
  walk(walk, "", *this);
  return out;
}

std::int64_t Module::parameter_count() const {
  std::int64_t n = 0;
  for (const auto& [name, parameter] : parameters()) n += parameter->shape().numel();
  return n;
}

}  // namespace monge::nn
