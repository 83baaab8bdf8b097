// Module and Parameter: a tree of named values to train.
//
// A constructor only declares: names, shapes, roles and initialisers. `ParameterStore` (parameter_store.h) gives all
// parameters of a tree their memory at once, so a model can be described, counted and planned without any.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "autograd/tape.h"
#include "core/shape.h"

namespace monge::nn {

/// What a parameter is for: optimizers choose rules and decay by it.
enum class Role : std::uint8_t { matrix, embedding, head, gain, bias };
inline constexpr std::size_t role_count = 5;
std::string_view name_of(Role role);

/// How a parameter starts.
struct Init {
  enum class Kind : std::uint8_t { constant, normal, uniform } kind = Kind::constant;
  double a = 0.0;  // constant: the value; normal: mean; uniform: low
  double b = 0.0;  // normal: standard deviation; uniform: high

  static Init constant(double value) { return {Kind::constant, value, 0.0}; }
  static Init normal(double stddev) { return {Kind::normal, 0.0, stddev}; }
  static Init uniform(double low, double high) { return {Kind::uniform, low, high}; }
};

/// One of the matrices that stand on each other in a parameter, such as W_q, W_k and W_v in a joint projection. Rules
/// that see a matrix as a whole see these.
struct Part {
  std::string name;
  std::int64_t rows = 0;
  std::int64_t heads = 1;  // equal blocks of rows that are matrices of their own, if one wants
};

/// A value to train. Copying is not allowed: layers hold it, the store binds it.
class Parameter {
 public:
  /// The rows of `parts`, when there are any, make up those of a matrix.
  Parameter(Shape shape, Role role, Init init, std::vector<Part> parts = {})
      : shape_(shape), role_(role), init_(init), parts_(std::move(parts)) {}
  Parameter(const Parameter&) = delete;
  Parameter& operator=(const Parameter&) = delete;

  const Shape& shape() const { return shape_; }
  Role role() const { return role_; }
  const Init& init() const { return init_; }
  /// Before a store makes its values.
  void set_init(const Init& init) { init_ = init; }
  const std::vector<Part>& parts() const { return parts_; }
  /// The differentiable value; throws std::invalid_argument before a store has bound it.
  const autograd::Var& var() const;
  operator const autograd::Var&() const { return var(); }  // NOLINT(google-explicit-constructor): ops take parameters
  void bind(autograd::Var var);

 private:
  Shape shape_;
  Role role_;
  Init init_;
  std::vector<Part> parts_;
  autograd::Var var_;
};

/// A parameter with its full name ("blocks.0.mlp.up.weight").
struct NamedParameter {
  std::string name;
  Parameter* parameter;
};

/// A node of the tree. Neither copied nor moved: children are registered by address.
class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// All parameters of the tree in order of registration, which is the order of the flat buffer of its role.
  std::vector<NamedParameter> parameters() const;
  std::int64_t parameter_count() const;
  /// Calls `f` for this module and every module below it, with its dotted name ("" for the root).
  void visit(const std::function<void(const std::string&, Module&)>& f);

 protected:
  /// Makes and registers a parameter; the module owns it.
  Parameter& add_parameter(const std::string& name, Shape shape, Role role, Init init, std::vector<Part> parts = {});
  /// Registers a member module, which must live as long as this one. Without a name its parameters have the names of
  /// this module's own.
  template <class M>
  M& add_module(const std::string& name, M& child) {
    children_.push_back({name, &child});
    return child;
  }

 private:
  std::vector<std::pair<std::string, std::unique_ptr<Parameter>>> parameters_;
  std::vector<std::pair<std::string, Module*>> children_;
};

}  // namespace monge::nn
