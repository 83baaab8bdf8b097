// Small models with sigmoid attention, trained: what a bias and the paper's stabilisers do to the loss.
#include <fmt/format.h>

#include <cmath>

#include "core/options/yaml.h"
#include "nn/attention/attention.h"
#include "tools/verify/papers/sigmoid.h"
#include "train/batches.h"
#include "train/evaluate.h"
#include "train/run.h"

namespace monge::tools {
namespace {

const Source ramapuram{"Ramapuram 2024",
                       "Theory, analysis, and best practices for sigmoid self-attention, "
                       "arXiv:2409.04431"};

constexpr Stabiliser all[] = {
    {"softmax", "attention: softmax"},
    {"b = -ln n", "attention: sigmoid"},
    {"b = 0", "attention: {kind: sigmoid, bias: 0}"},
    {"b = -ln n, learned", "attention: {kind: sigmoid, learned_bias: true}"},
    {"b = -ln n, QK-norm", "attention: {kind: sigmoid, qk_norm: true}"},
    {"b = -ln n, LayerScale", "attention: sigmoid, block: {kind: prenorm, layer_scale: 1.0e-4}"},
    {"b = -ln n, hybrid norm", "attention: sigmoid, block: {kind: prenorm, hybrid_norm: true}"},
    {"b = 0, learned", "attention: {kind: sigmoid, bias: 0, learned_bias: true}"},
    {"b = 0, QK-norm", "attention: {kind: sigmoid, bias: 0, qk_norm: true}"},
    {"b = 0, LayerScale", "attention: {kind: sigmoid, bias: 0}, block: {kind: prenorm, layer_scale: 1.0e-4}"},
    {"b = 0, hybrid norm", "attention: {kind: sigmoid, bias: 0}, block: {kind: prenorm, hybrid_norm: true}"},
};
constexpr int seeds = 3;

// One block with rope, as in the authors' toy recipe (width 384, 12 heads, 1,000 steps, text), scaled down. To predict
// such a chain is to find the last two symbols, and nothing else.
train::Config recipe(const Stabiliser& s, std::int64_t context, std::uint64_t seed) {
  train::Config out;
  const std::string yaml = fmt::format(
      "data: {{kind: markov, symbols: 8, order: 2, concentration: 0.3, validation_windows: 64}}\n"
      "model: {{layers: 1, heads: 4, width: 32, context: {}, position: rope, {}}}\n"
      "optimizer: {{lr: 8.0e-3, betas: [0.9, 0.95], weight_decay: 0, schedule: {{kind: cosine, warmup: 50}}}}\n"
      "train: {{steps: 700, batch: 8, seed: {}, threads: 1}}\n",
      context, s.model, seed);
  read_yaml_text(yaml, s.name, {}, out);
  return out;
}

/// Mean squares of what attention gives to W_o.
struct OutputSize : nn::AttentionObserver {
  double squares = 0.0, count = 0.0;
  void observe(const nn::AttentionCall& call) override {
    kernel::Attention a = call.args;
    const std::int64_t width = a.heads * a.head_dim;
    const Tensor out = Tensor::empty({a.batch, a.queries, width}, call.args.q.data.dtype(), call.args.q.data.device());
    a.out = {out, 0, width, a.queries * width};
    a.row_stat = Tensor::empty({a.batch, a.heads, a.queries}, DType::f32, call.args.q.data.device());
    out.backend().attention(a);
    const Matrix values = to_matrix(out);
    squares += values.squaredNorm();
    count += static_cast<double>(values.size());
  }
};

/// Over the first validation windows.
double output_size(train::Run& run) {
  const std::vector<nn::BatchField> fields = run.model->batch_fields();
  const train::HostBatch read = train::make_batch(
      fields, 8, [&](std::int64_t row, const train::Row& out) { run.dataset->validation_window(row, out); });
  const nn::Batch batch = read.on(run.device, fields);
  OutputSize size;
  const auto observe = [&](void (nn::RowMapAttention::*change)(nn::AttentionObserver&)) {
    run.model->visit([&](const std::string&, nn::Module& module) {
      if (auto* layer = dynamic_cast<nn::RowMapAttention*>(&module)) (layer->*change)(size);
    });
  };
  observe(&nn::RowMapAttention::add_observer);
  autograd::Tape tape;
  {
    const autograd::Tape::Recording recording(tape);  // observers see recorded calls only
    run.model->logits(batch);
  }
  observe(&nn::RowMapAttention::remove_observer);
  return std::sqrt(size.squares / size.count);
}

/// One training: sizes are not relative yet.
TrainedSigmoid train_one(const Stabiliser& s, std::uint64_t seed) {
  constexpr std::int64_t context = 64;
  train::Run run(recipe(s, context, seed));
  const train::Run::Turn turn(run);
  TrainedSigmoid out{.name = s.name, .output = output_size(run)};
  const std::int64_t steps = run.config.train.steps, batch = run.config.train.batch;
  const auto training = run.training_step(1);
  train::BatchQueue queue(*run.dataset, run.model->batch_fields(), training->first_batch(1), batch);
  for (std::int64_t step = 1; step <= steps; ++step) {
    training->run(step, [&] { return queue.next(); });
    training->clear_record();
  }
  const train::Evaluation here = train::evaluate(*run.model, *run.dataset, run.device, batch, 0);
  // The same parameters, none of which has a length.
  const train::Run longer(recipe(s, 2 * context, seed), run.dataset->vocab());
  longer.backend().copy({.from = run.store->values(), .to = longer.store->values()});
  const auto dataset = train::make_dataset(longer.config);
  const train::Evaluation there = train::evaluate(*longer.model, *dataset, run.device, batch, 0);
  out.loss = here.loss;
  out.optimum = here.optimum.value_or(0.0);
  out.longer = there.loss;
  out.longer_optimum = there.optimum.value_or(0.0);
  return out;
}

}  // namespace

std::span<const Stabiliser> stabilisers() { return all; }

std::vector<TrainedSigmoid> train_sigmoids(std::span<const Stabiliser> which, std::uint64_t seed) {
  std::vector<TrainedSigmoid> out;
  for (const Stabiliser& s : which) {
    TrainedSigmoid mean{.name = s.name};
    double squares = 0.0;
    for (int i = 0; i < seeds; ++i) {
      const TrainedSigmoid one = train_one(s, seed * 100 + static_cast<std::uint64_t>(i));
      mean.output += one.output / seeds;
      mean.loss += one.loss / seeds;
      mean.longer += one.longer / seeds;
      mean.optimum += one.optimum / seeds;
      mean.longer_optimum += one.longer_optimum / seeds;
      squares += one.loss * one.loss / seeds;
    }
    mean.spread = std::sqrt(std::max(squares - mean.loss * mean.loss, 0.0) * seeds / (seeds - 1));
    out.push_back(mean);
  }
  const double softmax = out.front().output;
  for (TrainedSigmoid& t : out) t.output /= softmax;
  return out;
}

Findings trained_sigmoid_findings(const std::vector<TrainedSigmoid>& trained) {
  const TrainedSigmoid &softmax = trained[0], &balanced = trained[1], &unbiased = trained[2];
  Findings out{.title =
                   fmt::format("trained: one block of width 32 on made-up chains, 64 tokens, means of {} seeds. The "
                               "best predictor has a loss of {:.3f} nats per token, and {:.3f} at 128 tokens",
                               seeds, softmax.optimum, softmax.longer_optimum)};
  out.claims = {{"b = -ln n: loss / softmax's - 1", ramapuram, balanced.loss / softmax.loss - 1.0, 0.03},
                {"b = 0: the same", ramapuram, unbiased.loss / softmax.loss - 1.0, 0.1, true}};
  out.notes.push_back("First outputs of attention, relative to softmax's, loss, and loss on twice the tokens:");
  for (const TrainedSigmoid& t : trained) {
    out.notes.push_back(fmt::format("{:<22} outputs {:>6.2f}, loss {:.3f} +- {:.3f}, at 128 tokens {:.3f}", t.name,
                                    t.output, t.loss, t.spread, t.longer));
  }
  return out;
}

}  // namespace monge::tools
