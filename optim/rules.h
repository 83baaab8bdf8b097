// The built-in rules, each added to the registry by its own file.
#pragma once

#include "optim/rule.h"

namespace monge::optim {

using RuleRegistry = Registry<Rule, const RuleContext&>;

// For all parameters.
void add_adafactor(RuleRegistry& registry);
void add_adamw(RuleRegistry& registry);
void add_ademamix(RuleRegistry& registry);
void add_lamb(RuleRegistry& registry);
void add_lion(RuleRegistry& registry);
void add_nadamw(RuleRegistry& registry);
void add_schedule_free(RuleRegistry& registry);
void add_sgd(RuleRegistry& registry);
void add_signum(RuleRegistry& registry);
void add_sophia(RuleRegistry& registry);

// For matrices, with one of those above for the other parameters.
void add_compositional_muon(RuleRegistry& registry);
void add_natural_muon(RuleRegistry& registry);
void add_ekfac(RuleRegistry& registry);
void add_kfac(RuleRegistry& registry);
void add_muon(RuleRegistry& registry);
void add_newton_muon(RuleRegistry& registry);
void add_normuon(RuleRegistry& registry);
void add_psgd_kron(RuleRegistry& registry);
void add_shampoo(RuleRegistry& registry);
void add_soap(RuleRegistry& registry);
void add_soap_muon(RuleRegistry& registry);

}  // namespace monge::optim
