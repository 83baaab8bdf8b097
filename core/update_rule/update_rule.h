// Update rules: how one element of a parameter changes with its gradient. The optimizers that treat all elements alike.
//
// A rule is a struct of settings, here, and what one step of it does, written once in a file of its own as a class
// over an element type V that each backend provides (a double, SIMD lanes, a float):
//
//   template <class V>
//   class UpdateStep<LionRule, V> {
//     UpdateStep(const LionRule& rule, const StepNumbers& at)   the constants of the step
//     V operator()(V p, V g, V& m) const                        the new parameter; updates the state in place
//   };
//
// The state elements come in the order of the rule's `states`; they are 0 before the first step. What an element has:
//
//   V(double)                 a constant
//   a + b, a - b, a * b, a / b
//   mul_add(a, b, c)          a b + c
//   neg_mul_add(a, b, c)      c - a b
//   sqrt(x), sign(x)          sign: 1, 0 or -1
//
// Weight decay is decoupled in every rule (Loshchilov & Hutter 2019, arXiv:1711.05101): p = keep p - lr (direction).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <variant>

namespace monge {

/// What the elements of a range have in common at one step.
struct StepNumbers {
  double lr = 0.0;
  double keep = 1.0;  // what weight decay leaves of a parameter: 1 - lr weight_decay
  double step = 1.0;  // from 1
};

// The settings; the formulas stand in the files of the rules.

struct SgdRule {
  static constexpr const char* name = "sgd";
  static constexpr std::array<const char*, 0> states{};
};

struct MomentumRule {
  static constexpr const char* name = "sgd";
  static constexpr std::array states{"buffer"};
  double momentum = 0.9;
  bool nesterov = false;
};

struct SignumRule {
  static constexpr const char* name = "signum";
  static constexpr std::array states{"m"};
  double beta = 0.95;
};

struct LionRule {
  static constexpr const char* name = "lion";
  static constexpr std::array states{"m"};
  double beta1 = 0.9, beta2 = 0.99;
};

struct AdamWRule {
  static constexpr const char* name = "adamw";
  static constexpr std::array states{"m", "v"};
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
};

struct NAdamWRule {
  static constexpr const char* name = "nadamw";
  static constexpr std::array states{"m", "v"};
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
};

struct AdEMAMixRule {
  static constexpr const char* name = "ademamix";
  static constexpr std::array states{"m", "slow", "v"};
  double beta1 = 0.9, beta2 = 0.999, beta3 = 0.9999, alpha = 5.0, eps = 1e-8;
  std::int64_t ramp = 0;  // steps
};

struct RmsRule {
  static constexpr const char* name = "rms";
  static constexpr std::array states{"v"};
  double beta = 0.999, eps = 1e-8;
};

using UpdateRule =
    std::variant<SgdRule, MomentumRule, SignumRule, LionRule, AdamWRule, NAdamWRule, AdEMAMixRule, RmsRule>;

/// The most states that a rule has.
inline constexpr std::size_t max_update_states = 3;

inline const char* name_of(const UpdateRule& rule) {
  return std::visit([](const auto& r) { return r.name; }, rule);
}
inline std::span<const char* const> states_of(const UpdateRule& rule) {
  return std::visit([](const auto& r) { return std::span<const char* const>(r.states); }, rule);
}

/// Calls f(rule, states) with the settings and a std::index_sequence that counts the states.
template <class F>
void visit_update_rule(const UpdateRule& rule, F&& f) {
  std::visit([&](const auto& r) { f(r, std::make_index_sequence<std::remove_cvref_t<decltype(r)>::states.size()>()); },
             rule);
}

}  // namespace monge
