// fisher_cg: the natural gradient of W_q and W_k under the exact joint attention-local Fisher (nn/attention/fisher.h),
//
//   (F + lambda I) V = M,
//
// by conjugate gradients (Hestenes & Stiefel 1952) on exact Fisher-vector products over the step's first micro-batch.
// lambda is relative to the mean eigenvalue of F, estimated from one random probe (Hutchinson 1989). It keeps the
// layer's inputs and projections, waits for the device in every iteration, and is meant for small models and as a
// reference for `fisher`.
#include <algorithm>
#include <cmath>
#include <optional>

#include "core/random_streams.h"
#include "nn/attention/fisher.h"
#include "optim/arithmetic.h"
#include "optim/attention/attention_updates.h"
#include "optim/attention/directed_update.h"

namespace monge::optim {
namespace {

struct FisherCgOptions : DirectedOptions {
  std::int64_t iterations = 10;
  double tolerance = 1e-3;
  void fields(Fields& f) override {
    DirectedOptions::fields(f);
    f("iterations", iterations, {.doc = "iterations of conjugate gradients, at most", .min = 1});
    f("tolerance", tolerance, {.doc = "they stop at a residual of so much of the gradient's norm", .min = 0.0});
  }
};

double inner(const Tensor& a, const Tensor& b) { return dot(a, b).item(); }

class FisherCgUpdate : public DirectedUpdate {
 public:
  FisherCgUpdate(const FisherCgOptions& options, const std::vector<AttentionLayer>& layers)
      : DirectedUpdate("fisher_cg", options, layers), options_(options), calls_(layers.size()) {}

  bool repeats(std::int64_t) const override { return false; }  // the number of iterations depends on values

  void begin(std::int64_t) override {
    for (std::size_t i = 0; i < calls_.size(); ++i) targets()[i].at.layer->add_observer(calls_[i]);
  }

 private:
  /// The first forward call of a step.
  struct FirstCall : nn::AttentionObserver {
    std::optional<nn::AttentionCall> call;

    void observe(const nn::AttentionCall& seen) override {
      if (call) return;
      call = seen;
      if (seen.x.dtype() != DType::bf16) return;
      const auto wide = [](const Tensor& x) { return x.to(DType::f32, x.device()); };
      call->x = wide(seen.x);
      call->source = seen.source.same_memory(seen.x) ? call->x : wide(seen.source);
      call->args.q.data = wide(seen.args.q.data);
      call->args.k.data = seen.args.k.data.same_memory(seen.args.q.data) ? call->args.q.data : wide(seen.args.k.data);
    }
  };

  void bind_target(std::size_t) override {}

  void prepare(const Step&) override {
    for (std::size_t i = 0; i < calls_.size(); ++i) targets()[i].at.layer->remove_observer(calls_[i]);
  }

  void direction(std::size_t i, std::int64_t step, const Tensor& gradient, const Tensor& x) override {
    const nn::AttentionCall call = std::move(*calls_[i].call);
    calls_[i].call.reset();
    fill(x, 0.0);
    const double start = inner(gradient, gradient);
    if (!(start > 0.0) || !std::isfinite(start)) return;

    const double lambda = options_.damping * mean_eigenvalue(call, x, i, step);
    const Tensor r = gradient.clone(), p = gradient.clone(), product = Tensor::like(x);
    // The residual is carried along, not measured: below the precision of its numbers it means nothing.
    const double resolved = x.dtype() == DType::f64 ? 1e-15 : 1e-7;
    const double enough = std::max(options_.tolerance, resolved);
    double squared = start;
    for (std::int64_t k = 0; k < options_.iterations; ++k) {
      copy(nn::fisher_product(call, p), product);
      axpy(lambda, p, product);
      const double curvature = inner(p, product);
      if (!(curvature > 0.0) || !std::isfinite(curvature)) return;
      const double alpha = squared / curvature;
      axpy(alpha, p, x);
      axpy(-alpha, product, r);
      const double next = inner(r, r);
      if (next <= enough * enough * start) return;
      scale(p, next / squared, p);
      add(p, r, p);
      squared = next;
    }
  }

  /// z^T F z / n for one z of N(0, 1), a function of the step and the layer only.
  double mean_eigenvalue(const nn::AttentionCall& call, const Tensor& like, std::size_t i, std::int64_t step) const {
    const Tensor z = Tensor::like(like);
    const Random random{.seed = static_cast<std::uint64_t>(step), .stream = probe_stream + targets()[i].at.index};
    z.backend().normal({.x = z, .random = random});
    return std::max(inner(z, nn::fisher_product(call, z)) / inner(z, z), 1e-30);
  }

  FisherCgOptions options_;
  std::vector<FirstCall> calls_;
};

}  // namespace

void add_fisher_cg(AttentionUpdateRegistry& registry) {
  registry.add<FisherCgOptions>(
      "fisher_cg", "natural gradient of W_q and W_k by conjugate gradients on the exact attention-local Fisher",
      [](const FisherCgOptions& o, const std::vector<AttentionLayer>& layers) {
        return std::make_unique<FisherCgUpdate>(o, o.chosen(layers));
      });
}

}  // namespace monge::optim
