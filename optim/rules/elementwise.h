// ElementwiseRule: an optimizer that runs one of core's update rules over the flat buffers. A rule of this kind is a
// file with its options and one line of registration:
//
//   struct LionOptions : Options { ...; UpdateRule rule() const { return LionRule{betas[0], betas[1]}; } };
//   void add_lion(RuleRegistry& registry) { add_elementwise<LionOptions>(registry, "lion", "what it is"); }
#pragma once

#include <array>
#include <string>
#include <vector>

#include "core/backend.h"
#include "optim/rules.h"

namespace monge::optim {

/// Its state is one tensor for each state of the update rule, named "lion.m", of its segments one after the other.
class ElementwiseRule : public Rule {
 public:
  /// `name` begins the names of its state; empty: that of the update rule.
  ElementwiseRule(const UpdateRule& rule, const RuleContext& context, std::string name = {});
  void directions(const Step& step, const Tensor& u) override;
  void update(const Step& step) override;
  std::vector<NamedTensor> state() const override;

 private:
  /// One step of the rule on the segments of `values`.
  void run(const Step& step, const Tensor& control, const Tensor& values, const Tensor& copies, bool decays);

  UpdateRule rule_;
  std::string name_;
  std::vector<Segment> segments_;
  std::array<Tensor, max_update_states> states_;
};

/// Registers the update rule that `RuleOptions::rule()` gives.
template <class RuleOptions>
void add_elementwise(RuleRegistry& registry, const std::string& name, const std::string& doc) {
  registry.add<RuleOptions>(name, doc, [](const RuleOptions& options, const RuleContext& context) {
    return std::make_unique<ElementwiseRule>(options.rule(), context);
  });
}

/// Throws InputError unless `betas` are as many decay factors in [0, 1) as `example` has.
void check_betas(const std::vector<double>& betas, const std::vector<double>& example);

/// The options of AdamW and of the rules that take the same.
template <class AdamRule>
struct AdamOptions : Options {
  std::vector<double> betas{0.9, 0.999};
  double eps = 1e-8;
  void fields(Fields& f) override {
    f("betas", betas, {.doc = "decay of the first and second moment", .min = 0.0, .max = 1.0});
    f("eps", eps, {.doc = "added to the root of the second moment", .min = 0.0});
  }
  void check() const override { check_betas(betas, {0.9, 0.99}); }
  UpdateRule rule() const { return AdamRule{betas[0], betas[1], eps}; }
};

}  // namespace monge::optim
