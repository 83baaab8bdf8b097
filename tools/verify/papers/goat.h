// GOAT, a trained log-prior in causal attention (Litman & Guo 2026, arXiv:2601.15380): a_i = softmax(z_i + log pi_i).
//
// The prior is that of nn/goat.h, with made-up parameters; what its tables should be is computed here from these.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "nn/goat.h"
#include "tools/verify/papers/paper.h"
#include "tools/verify/problems.h"

namespace monge::tools {

/// What ships, unless a test plants a fault.
struct GoatTables {
  using Table = std::function<autograd::Var(const nn::GoatPrior&, std::int64_t n)>;
  static constexpr Device device{DeviceKind::reference, 0};
  Table of_distance = [](const nn::GoatPrior& p, std::int64_t n) { return p.of_distance(n, device); };
  Table of_key = [](const nn::GoatPrior& p, std::int64_t n) { return p.of_key(n, device); };
  RowMap map = SoftmaxMap{};
};

Findings goat_findings(std::uint64_t seed, const GoatTables& tables = {});
/// What the prior alone makes of the keys of one query.
std::string goat_svg();

Examined examine_goat(std::uint64_t seed);

}  // namespace monge::tools
