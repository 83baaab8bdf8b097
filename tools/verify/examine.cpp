#include <algorithm>
#include <iterator>

#include "tools/verify/claims.h"
#include "tools/verify/row.h"

namespace monge::tools {
namespace {

template <class T, class F>
std::vector<T> select(const std::vector<T>& all, F condition) {
  std::vector<T> out;
  std::ranges::copy_if(all, std::back_inserter(out), condition);
  return out;
}

bool is_softmax(const RowMap& map) { return as<SoftmaxMap>(map) != nullptr; }

/// Softmax rows of at least two keys.
void examine_softmax_rows(const std::vector<RowProblem>& rows, std::uint64_t seed, Findings& out) {
  const auto add = [&](Claim claim) { out.claims.push_back(std::move(claim)); };
  add(kkt_claim(rows));
  add(mirror_descent_claim(rows));
  add(duality_gap_claim(rows));
  add(hessian_claim(rows, seed));
  add(advantage_claim(rows));
  const auto keys = [](const RowProblem& row) { return row.scores.size(); };
  add(sampled_claim(*std::ranges::max_element(rows, {}, keys), seed));
  add(baseline_claim(rows, out.notes));
  const auto broad = select(rows, [](const RowProblem& row) { return softmax(row.scores).minCoeff() > 1e-6; });
  if (!broad.empty()) add(bare_advantage_claim(broad));
}

void examine_softmax_layers(const std::vector<LayerProblem>& layers, std::uint64_t seed, Findings& out) {
  out.claims.push_back(covariance_claim(layers, seed));
  out.claims.push_back(factors_claim(layers, seed));
  const auto plain = select(layers, [](const LayerProblem& l) { return !l.normalises; });
  if (!plain.empty()) {
    out.claims.push_back(product_claim(plain, seed));
    out.claims.push_back(kl_claim(plain, seed));
  }
  const auto unrotated = select(plain, [](const LayerProblem& l) { return !l.call.position->rotates(); });
  if (!unrotated.empty()) out.claims.push_back(key_bias_claim(unrotated, seed));
  const auto left_out = [&](std::size_t count, const char* why) {
    if (count > 0) out.notes.push_back(fmt::format("{} of {} softmax layers: {}.", count, layers.size(), why));
  };
  left_out(layers.size() - plain.size(),
           "normalised queries and keys, left out of the Fisher product, KL and key bias");
  left_out(plain.size() - unrotated.size(), "rotated keys, whose bias does have a gradient, left out of that claim");
}

}  // namespace

Findings examine(const Problems& problems, std::uint64_t seed) {
  Findings out{.title = problems.title, .claims = {}, .notes = problems.notes};
  const auto rows = select(problems.rows, [](const RowProblem& r) { return is_softmax(r.map) && r.scores.size() > 1; });
  if (!rows.empty()) examine_softmax_rows(rows, seed, out);

  const auto solvable = select(problems.rows, [](const RowProblem& r) { return metric_of(r.map) != Metric::none; });
  if (!problems.rows.empty()) {
    out.claims.push_back(finite_difference_claim(problems.rows));
    if (!solvable.empty()) out.claims.push_back(row_solve_claim(solvable));
    out.claims.push_back(entmax_softmax_claim(problems.rows));
    out.claims.push_back(entmax_sparsemax_claim(problems.rows));
    out.claims.push_back(sigmoid_prior_claim(problems.rows));
  }

  const auto layers = select(problems.layers, [](const LayerProblem& l) { return is_softmax(l.call.args.map); });
  if (!layers.empty()) examine_softmax_layers(layers, seed, out);
  if (layers.size() < problems.layers.size()) {
    out.notes.push_back(fmt::format("{} of {} layers are not softmax: the claims about softmax leave them out.",
                                    problems.layers.size() - layers.size(), problems.layers.size()));
  }
  return out;
}

Findings examine_random(std::uint64_t seed) {
  Findings out = examine(random_problems(seed), seed);
  out.claims.push_back(single_row_claim(seed));
  out.claims.push_back(kronecker_step_claim(seed));
  return out;
}

}  // namespace monge::tools
