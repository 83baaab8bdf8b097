#include "optim/matrix/circuit_metric.h"

#include <map>

#include "core/backend.h"
#include "optim/arithmetic.h"
#include "optim/attention/attention_update.h"
#include "optim/matrix/inverse_root.h"

namespace monge::optim {

std::vector<Circuit> circuits_of(nn::Module& model, const nn::ParameterStore& store) {
  std::vector<Circuit> out;
  for (const AttentionLayer& at : attention_layers(model)) {
    Circuit circuit{.name = at.name,
                    .layer = at.layer,
                    .heads = at.layer->heads(),
                    .kv_heads = at.layer->kv_heads(),
                    .head_dim = at.layer->head_dim(),
                    .places = {}};
    const auto place = [&](const nn::ProjectionRows& rows) {
      const std::int64_t cols = rows.parameter->shape()[1];
      return Circuit::Place{store.entry(*rows.parameter).begin + rows.first * cols, rows.count, cols};
    };
    const nn::Parameter& output = at.layer->output_weight();
    circuit.places = {place(at.layer->query_rows()), place(at.layer->key_rows()), place(at.layer->value_rows()),
                      place({&output, 0, output.shape()[0]})};
    out.push_back(std::move(circuit));
  }
  return out;
}

LegFactors LegFactors::of_heads(std::int64_t first, std::int64_t heads) const {
  const bool apart = left.defined() && left.size(0) > 1;
  return {apart ? left.slice(first, first + heads) : left, right};
}

std::optional<CircuitPart> circuit_part(const std::vector<Circuit>& circuits, const std::vector<Leg>& legs,
                                        const Matrix& matrix) {
  for (std::size_t c = 0; c < circuits.size(); ++c) {
    for (const Leg leg : legs) {
      const Circuit& at = circuits[c];
      const Circuit::Place& place = at.place(leg);
      const std::int64_t offset = matrix.begin - place.begin;
      if (offset < 0 || offset >= place.rows * place.cols) continue;
      if (leg == Leg::output) return CircuitPart{c, leg, 0, at.heads};
      return CircuitPart{c, leg, offset / (at.head_dim * place.cols), matrix.rows / at.head_dim};
    }
  }
  return std::nullopt;
}

namespace {

/// factors (N, n, n), blocks on a diagonal, times x (N n, C).
Tensor times(const Tensor& factors, const Tensor& x) {
  const Tensor out = Tensor::like(x);
  const Shape blocks{factors.size(0), factors.size(1), x.size(1)};
  matmul(factors, x.reshape(blocks), out.reshape(blocks));
  return out;
}

}  // namespace

Tensor between(const LegFactors& f, const Tensor& x) {
  const Tensor half = f.left.defined() ? times(f.left, x) : x;
  if (!f.right.defined()) return half;
  if (f.right.size(0) > 1) return transpose(times(f.right, transpose(half)));  // R is symmetric
  const Tensor out = Tensor::like(half);
  matmul(half, f.right.reshape({f.right.size(1), f.right.size(2)}), out);
  return out;
}

namespace {

Leg partner_of(Leg leg) {
  constexpr std::array<Leg, 4> partners{Leg::key, Leg::query, Leg::output, Leg::value};
  return partners[static_cast<std::size_t>(leg)];
}

/// All factors whose heads have the same D are computed together.
class PartnerMetric : public CircuitMetric {
 public:
  PartnerMetric(const std::vector<Circuit>& circuits, const nn::ParameterStore& store, const PartnerOptions& options)
      : circuits_(circuits), store_(store), options_(options) {
    std::map<std::int64_t, std::int64_t> counts;
    for (std::size_t c = 0; c < circuits_.size(); ++c) {
      for (const Leg leg : options_.legs) {
        std::int64_t& count = counts[circuits_[c].head_dim];
        places_[{c, leg}] = count;
        count += circuits_[c].kv_heads;
      }
    }
    for (const auto& [n, count] : counts) {
      batches_[n].eye = identity({count, n, n}, store.values().dtype(), store.values().device());
    }
  }

  void measure(const Step&) override {
    for (auto& [n, batch] : batches_) batch.metric = Tensor::like(batch.eye);
    for (const auto& [which, first] : places_) {
      const auto& [c, leg] = which;
      const Circuit& at = circuits_[c];
      write_gram(at, partner_of(leg), batches_.at(at.head_dim).metric.slice(first, first + at.kv_heads));
    }
    for (auto& [n, batch] : batches_) {
      axpy(options_.damping, batch.eye, batch.metric);
      batch.root = Tensor::like(batch.eye);
      options_.isotropic ? mean_roots(batch) : inverse_roots(batch.metric, batch.eye, batch.root);
    }
  }

  LegFactors factors(std::size_t c, Leg leg) const override { return as_factors(c, leg, own(c, leg, &Batch::root)); }

  /// C = C^2 C^-1.
  LegFactors roots(std::size_t c, Leg leg) const override {
    const Tensor inverse = own(c, leg, &Batch::root), root = Tensor::like(inverse);
    matmul(own(c, leg, &Batch::metric), inverse, root);
    return as_factors(c, leg, root);
  }

  std::vector<std::string> notes() const override {
    const auto any = [&](auto has) { return std::ranges::any_of(circuits_, has); };
    const auto measures = [&](Leg leg) { return std::ranges::find(options_.legs, leg) != options_.legs.end(); };
    std::vector<std::string> out;
    if (!measures(Leg::query)) return out;
    if (any([](const Circuit& at) { return at.layer->position().rotates(); })) {
      out.push_back(
          "circuits of attention: with rope, the scores are products of rotated queries and keys; the metric is that "
          "of "
          "W_q and W_k before rotation");
    }
    if (any([](const Circuit& at) { return at.layer->has_qk_norm(); })) {
      out.push_back(
          "circuits of attention: with model.attention.qk_norm, the scores are not products of W_q and W_k alone; "
          "circuits: ov leaves these two to the steps of muon");
    }
    return out;
  }

 private:
  struct Batch {
    Tensor eye, metric, root;  // (N, D, D): I, C^2, C^-1
  };

  /// The matrices of this leg, (G, D, D).
  Tensor own(std::size_t c, Leg leg, Tensor Batch::*which) const {
    const std::int64_t first = places_.at({c, leg});
    return (batches_.at(circuits_[c].head_dim).*which).slice(first, first + circuits_[c].kv_heads);
  }

  LegFactors as_factors(std::size_t c, Leg leg, Tensor root) const {
    const Circuit& at = circuits_[c];
    const std::int64_t n = at.head_dim;
    if (at.heads_of(leg) != at.kv_heads) {  // each query head takes that of its key head
      const Tensor of_queries = Tensor::empty({at.heads, n, n}, root.dtype(), root.device());
      root.backend().repeat(
          {.x = root, .outer = at.kv_heads, .n = at.heads / at.kv_heads, .inner = n * n, .out = of_queries});
      root = of_queries;
    }
    return leg == Leg::output ? LegFactors{{}, root} : LegFactors{root, {}};
  }

  /// The Gram matrices of one leg, (G, D, D), summed over the query heads of a group.
  void write_gram(const Circuit& at, Leg leg, const Tensor& out) const {
    const Tensor w = at.place(leg).view(store_.values()), rows = leg == Leg::output ? transpose(w) : w;
    const std::int64_t heads = at.heads_of(leg), n = at.head_dim;
    const Tensor by_head = rows.reshape({heads, n, rows.size(1)});
    if (heads == at.kv_heads) return matmul(by_head, transposed(by_head), out);
    const Tensor each = Tensor::empty({heads, n, n}, out.dtype(), out.device());
    matmul(by_head, transposed(by_head), each);
    out.backend().sum({.x = each, .outer = at.kv_heads, .n = heads / at.kv_heads, .inner = n * n, .out = out});
  }

  /// (mean diagonal element)^-1/2 I.
  static void mean_roots(const Batch& batch) {
    const std::int64_t count = batch.eye.size(0), n = batch.eye.size(1);
    const Tensor diagonals = mul(batch.metric, batch.eye).reshape({count, n * n});
    const Tensor size = sqrt(scale(row_means(diagonals), static_cast<double>(n)));
    div(batch.eye.reshape({count, n * n}), repeat_columns(size, n * n), batch.root.reshape({count, n * n}));
  }

  std::vector<Circuit> circuits_;
  const nn::ParameterStore& store_;
  PartnerOptions options_;
  std::map<std::pair<std::size_t, Leg>, std::int64_t> places_;  // of the factors of a leg in their batch
  std::map<std::int64_t, Batch> batches_;                       // by D
};

}  // namespace

std::unique_ptr<CircuitMetric> make_partner_metric(const std::vector<Circuit>& circuits,
                                                   const nn::ParameterStore& store, const PartnerOptions& options) {
  return std::make_unique<PartnerMetric>(circuits, store, options);
}

}  // namespace monge::optim
