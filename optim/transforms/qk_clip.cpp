// QK-Clip (Kimi Team 2025, "Kimi K2", arXiv:2507.20534, algorithm 1): after a step, heads whose scores were too large
// are scaled down. With S_h the largest score <q_i, k_j> / sqrt(D) of head h over the batch of the step, priors apart,
//
//   g_h = min(1, tau / S_h)        W_q[h] = sqrt(g_h) W_q[h]        W_k[h] = sqrt(g_h) W_k[h]
//
// and biases likewise. A key head that several query heads share stays as it is, and W_q[h] = g_h W_q[h]: so the paper
// treats the rotary keys that its heads share, and no head feels the scores of another. Rotations change nothing here.
//
// S_h is read off a log-sum-exp of the scores times 1024, which attention computes in any case, on every device and
// with every mask: it is ln(keys) / 1024 too large at most. The host does not wait for it.
#include <memory>
#include <vector>

#include "core/backend.h"
#include "core/error.h"
#include "optim/arithmetic.h"
#include "optim/attention/attention_update.h"
#include "optim/transforms/transforms.h"

namespace monge::optim {
namespace {

struct QkClipOptions : Options {
  double tau = 100.0;
  void fields(Fields& f) override {
    f("tau", tau, {.doc = "largest score that a head may have", .min = 0.0, .exclusive_min = true});
  }
};

/// The largest element of each column of x (R, C), (C).
Tensor column_maxima(Tensor x) {
  const std::int64_t columns = x.size(1);
  while (x.size(0) > 1) {
    const std::int64_t rows = x.size(0), half = (rows + 1) / 2;
    x = max(x.slice(0, half), x.slice(rows - half, rows));
  }
  return x.reshape({columns});
}

/// S_h of one forward call, (H).
Tensor largest_scores(const nn::AttentionCall& call) {
  constexpr double sharpness = 1024.0;
  kernel::Attention a = call.args;
  const Tensor& q = a.q.data;
  const std::int64_t width = a.heads * a.head_dim;
  a.map = SoftmaxMap{};
  a.prior = {};
  a.dropout = 0.0;
  a.scale *= sharpness;
  a.out = {Tensor::empty({a.batch, a.queries, width}, q.dtype(), q.device()), 0, width, a.queries * width};
  a.row_stat = Tensor::empty({a.batch, a.heads, a.queries}, q.backend().default_float(), q.device());
  q.backend().attention(a);
  const Tensor of_batch = column_maxima(a.row_stat.reshape({a.batch, a.heads * a.queries}));
  const Tensor of_heads = column_maxima(transpose(of_batch.reshape({a.heads, a.queries})));
  return scale(of_heads, 1.0 / sharpness);
}

class QkClip : public Transform {
 public:
  QkClip(const QkClipOptions& options, const RuleContext& context) : Transform(context), tau_(options.tau) {
    for (const AttentionLayer& at : attention_layers(context.model)) {
      if (at.layer->has_qk_norm()) {
        throw InputError(
            "optimizer.chain: qk_clip scales W_q and W_k, and with normalised queries and keys "
            "(model.attention.qk_norm) the scores do not depend on their size; remove one of the two");
      }
      heads_.push_back(std::make_unique<Heads>(*at.layer));
    }
    if (heads_.empty()) {
      throw InputError(
          "optimizer.chain: qk_clip scales W_q and W_k, and no attention of this model projects queries from its "
          "tokens; remove it");
    }
  }

  void after(const Step& step) override {
    for (const auto& at : heads_) {
      if (!at->largest.defined()) continue;
      const Tensor factor = Tensor::like(at->largest);
      fill(factor, tau_);
      div(factor, max(at->largest, 1e-30), factor);
      min(factor, 1.0, factor);
      at->largest = {};
      const nn::RowMapAttention& layer = at->layer;
      if (layer.heads() == layer.kv_heads()) {
        sqrt(factor, factor);
        scale_heads(step, layer.key_rows(), factor);
      }
      scale_heads(step, layer.query_rows(), factor);
    }
  }

  bool changes_parameters() const override { return true; }

 private:
  /// The largest score of each head so far in this step, (H).
  struct Heads : nn::AttentionObserver {
    explicit Heads(nn::RowMapAttention& at) : layer(at) { layer.add_observer(*this); }
    ~Heads() override { layer.remove_observer(*this); }
    Heads(const Heads&) = delete;
    Heads& operator=(const Heads&) = delete;

    void observe(const nn::AttentionCall& call) override {
      const Tensor scores = largest_scores(call);
      largest = largest.defined() ? max(largest, scores) : scores;
    }

    nn::RowMapAttention& layer;
    Tensor largest;
  };

  void scale_heads(const Step& step, const nn::ProjectionRows& rows, const Tensor& factor) const {
    scale_rows(step, *rows.parameter, rows.first, rows.count, factor);
    if (rows.bias != nullptr) scale_rows(step, *rows.bias, rows.first, rows.count, factor);
  }

  /// Rows [first, first + count) of a parameter, in equal blocks, each times an element of `factor`.
  void scale_rows(const Step& step, const nn::Parameter& parameter, std::int64_t first, std::int64_t count,
                  const Tensor& factor) const {
    const std::int64_t row = parameter.shape().numel() / parameter.shape()[0], heads = factor.numel();
    const auto view = [&](const Tensor& flat) {
      return flat.flat_view(store().entry(parameter).begin + first * row, {heads, count / heads * row});
    };
    const Tensor w = view(store().values());
    step.set(w, mul(w, repeat_columns(factor, w.size(1))));
    if (store().copies().defined()) copy(w, view(store().copies()));
  }

  double tau_;
  std::vector<std::unique_ptr<Heads>> heads_;
};

}  // namespace

void add_qk_clip(TransformRegistry& registry) {
  registry.add<QkClipOptions>(
      "qk_clip", "heads whose largest score exceeds a limit have W_q and W_k scaled down",
      [](const QkClipOptions& o, const RuleContext& c) { return std::make_unique<QkClip>(o, c); });
}

}  // namespace monge::optim
