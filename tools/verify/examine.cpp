#include <algorithm>

#include "tools/verify/claims.h"

namespace monge::tools {
namespace {

template <class T, class F>
std::vector<T> those(const std::vector<T>& all, F condition) {
  std::vector<T> out;
  std::ranges::copy_if(all, std::back_inserter(out), condition);
  return out;
}

template <class F>
void leave_out(const std::vector<LayerProblem>& layers, F condition, const char* why, std::vector<std::string>& notes) {
  const auto count = std::ranges::count_if(layers, condition);
  if (count > 0) notes.push_back(fmt::format("{} of {} layers of softmax: {}.", count, layers.size(), why));
}

}  // namespace

Findings examine(const Problems& problems, std::uint64_t seed) {
  Findings out{.title = problems.title, .notes = problems.notes};
  const auto is_softmax = [](const RowMap& map) { return map.kind == RowMapKind::softmax; };
  const auto rows = those(problems.rows, [&](const RowProblem& r) { return is_softmax(r.map); });
  const auto layers = those(problems.layers, [&](const LayerProblem& l) { return is_softmax(l.call.args.map); });
  auto& claims = out.claims;
  if (!rows.empty()) {
    claims = {kkt_claim(rows),           mirror_descent_claim(rows), duality_gap_claim(rows),
              hessian_claim(rows, seed), advantage_claim(rows),
              sampled_claim(*std::ranges::max_element(rows, {}, [](const RowProblem& r) { return r.scores.size(); }), seed),
              baseline_claim(rows, out.notes), bare_advantage_claim(rows)};
  }
  claims.push_back(finite_difference_claim(problems.rows));
  claims.push_back(row_solve_claim(problems.rows));
  claims.push_back(entmax_softmax_claim(problems.rows));
  claims.push_back(entmax_sparsemax_claim(problems.rows));
  claims.push_back(sigmoid_prior_claim(problems.rows));
  if (!layers.empty()) {
    for (const auto claim : {covariance_claim, factors_claim, product_claim, kl_claim, key_bias_claim}) {
      claims.push_back(claim(layers, seed));
    }
  }
  const auto others = problems.layers.size() - layers.size();
  if (others > 0) {
    out.notes.push_back(fmt::format("{} of {} layers are not softmax: the claims about softmax leave them out.", others,
                                    problems.layers.size()));
  }
  leave_out(layers, [](const LayerProblem& l) { return l.normalises; },
            "normalised queries and keys, left out of the Fisher product, KL and key bias", out.notes);
  leave_out(layers, [](const LayerProblem& l) { return l.call.position->rotates(); },
            "rotated keys, left out of the key bias, which has a gradient there", out.notes);
  return out;
}

Findings examine_random(std::uint64_t seed) {
  Findings out = examine(random_problems(seed), seed);
  out.claims.push_back(single_row_claim(seed));
  out.claims.push_back(kronecker_step_claim(seed));
  return out;
}

}  // namespace monge::tools
