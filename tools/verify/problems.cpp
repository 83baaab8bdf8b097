#include "tools/verify/problems.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "core/error.h"
#include "train/batches.h"
#include "train/checkpoint/saved_model.h"

namespace monge::tools {
namespace {

constexpr Device reference{DeviceKind::reference, 0};

Tensor in_double(const Tensor& x) { return x.defined() ? x.to(DType::f64, reference) : x; }

nn::AttentionCall in_double(const nn::AttentionCall& call) {
  nn::AttentionCall out = call;
  out.x = in_double(call.x);
  out.source = call.source.same_memory(call.x) ? out.x : in_double(call.source);
  out.args.q.data = in_double(call.args.q.data);
  out.args.k.data = out.args.v.data =
      call.args.k.data.same_memory(call.args.q.data) ? out.args.q.data : in_double(call.args.k.data);
  const LogPrior& prior = call.args.prior;
  out.args.prior = {in_double(prior.head), in_double(prior.distance), in_double(prior.key), in_double(prior.slopes)};
  for (Tensor* spans : {&out.args.spans.keys, &out.args.spans.positions}) {
    if (*spans) *spans = spans->to(DType::i32, reference);
  }
  out.args.dropout = 0.0;
  return out;
}

/// A row of any sequence, head and position, with the payoffs of a random loss.
RowProblem draw_row(const nn::AttentionCall& call, const LayerScores& scores, RandomSequence& random) {
  const kernel::Attention& a = call.args;
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(n)));
  };
  const std::int64_t b = below(a.batch), h = below(a.heads), i = below(a.queries);
  const kernel::KeySpan span = scores.span(b, i);
  RowProblem row{a.map, scores.scores(b, h, i), Vector(span.size())};
  const Vector dout = normal(random, a.head_dim);
  for (Eigen::Index j = 0; j < row.payoffs.size(); ++j) row.payoffs[j] = dout.dot(scores.value(b, h, span.begin + j));
  return row;
}

}  // namespace

Vector normal(RandomSequence& random, std::int64_t n, double stddev) {
  Vector out(n);
  for (double& x : out) x = stddev * random.normal();
  return out;
}
Tensor normal_tensor(RandomSequence& random, const Shape& shape, double stddev) {
  const Vector values = normal(random, shape.numel(), stddev);
  return Tensor::from({values.data(), static_cast<std::size_t>(values.size())}, shape, DType::f64, reference);
}

Matrix to_matrix(const Tensor& x) {
  const auto values = x.values();
  return Eigen::Map<const Matrix>(values.data(), x.shape().rows(), x.shape().last());
}

LayerScores::LayerScores(const nn::AttentionCall& call)
    : args_(call.args), queries_(to_matrix(call.args.q.data)), keys_(to_matrix(call.args.k.data)), spans_(args_) {
  const auto table = [](const Tensor& t) { return t.defined() ? to_matrix(t) : Matrix(); };
  distance_ = table(args_.prior.distance);
  key_ = table(args_.prior.key);
  head_ = table(args_.prior.head);
  slopes_ = table(args_.prior.slopes);
}

namespace {

/// The elements of a head of a token.
Vector segment(const Matrix& rows, const HeadView& view, std::int64_t row, std::int64_t head, std::int64_t head_dim) {
  return rows.row(row).segment(view.offset + head * head_dim, head_dim);
}

}  // namespace

Vector LayerScores::query(std::int64_t b, std::int64_t h, std::int64_t i) const {
  return segment(queries_, args_.q, b * args_.queries + i, h, args_.head_dim);
}
Vector LayerScores::key(std::int64_t b, std::int64_t h, std::int64_t j) const {
  return segment(keys_, args_.k, b * args_.keys + j, h / (args_.heads / args_.kv_heads), args_.head_dim);
}
Vector LayerScores::value(std::int64_t b, std::int64_t h, std::int64_t j) const {
  return segment(keys_, args_.v, b * args_.keys + j, h / (args_.heads / args_.kv_heads), args_.head_dim);
}

Vector LayerScores::scores(std::int64_t b, std::int64_t h, std::int64_t i) const {
  const Vector q = query(b, h, i);
  const kernel::KeySpan seen = span(b, i);
  Vector z(seen.size());
  for (Eigen::Index j = 0; j < z.size(); ++j) {
    const std::int64_t distance = std::abs(seen.position - j);
    z[j] = args_.scale * q.dot(key(b, h, seen.begin + j));
    if (distance_.size() > 0) z[j] += distance_(h, distance);
    if (key_.size() > 0) z[j] += key_(h, j);
    if (head_.size() > 0) z[j] += head_(0, h);
    if (slopes_.size() > 0) z[j] -= slopes_(0, h) * static_cast<double>(distance);
  }
  return z;
}

LayerScores LayerScores::moved(const Matrix& change) const {
  LayerScores out = *this;
  out.queries_ += change;
  out.keys_ += change;
  return out;
}

Problems random_problems(std::uint64_t seed) {
  Problems out{.title = fmt::format("random problems (seed {})", seed)};
  RandomSequence random(seed, row_stream);
  for (const std::int64_t n : {2, 3, 8, 16, 33}) {
    for (int i = 0; i < 20; ++i) {
      out.rows.push_back({RowMap{}, normal(random, n, i % 2 == 0 ? 0.5 : 2.0), normal(random, n)});
    }
  }
  RowMaps::for_each([&](RowMap map) {
    if (as<SoftmaxMap>(map)) return;
    if (as<EntmaxMap>(map)) map = EntmaxMap{.alpha = 1.25};
    for (const std::int64_t n : {3, 16}) out.rows.push_back({map, normal(random, n, 1.5), normal(random, n)});
  });

  struct Sizes {
    std::int64_t heads, kv_heads;
    const char* position;
    bool prior;
  };
  const auto owned = std::make_shared<std::vector<std::unique_ptr<nn::Position>>>();
  RandomSequence layers(seed, layer_stream);
  for (const Sizes s : {Sizes{2, 2, "none", false}, Sizes{4, 2, "alibi", true}, Sizes{2, 1, "rope", false}}) {
    constexpr std::int64_t B = 2, T = 8, D = 4;
    const std::int64_t C = s.heads * D;
    const nn::LayerContext context{.width = C, .heads = s.heads, .kv_heads = s.kv_heads, .context = T};
    owned->push_back(nn::positions().make(nn::positions().choose(s.position), context));
    nn::Position& position = *owned->back();
    const Tensor x = normal_tensor(layers, {B, T, C});
    const Tensor w =
        normal_tensor(layers, {(s.heads + 2 * s.kv_heads) * D, C}, 1.0 / std::sqrt(static_cast<double>(C)));
    const Tensor qkv = position.rotate(autograd::linear(x, w), 0).value();
    autograd::AttentionSpec spec{.heads = s.heads, .kv_heads = s.kv_heads, .scale = 0.5};
    spec.slopes = position.slopes(reference);
    if (s.prior) spec.distance_prior = normal_tensor(layers, {s.heads, T});
    out.layers.push_back({.call = {x, x, autograd::attention_call(qkv, spec), &position}});
  }
  out.owner = owned;
  return out;
}

namespace {

/// Keeps the first forward call of a layer.
struct FirstCall : nn::AttentionObserver {
  std::unique_ptr<nn::AttentionCall> call;
  void observe(const nn::AttentionCall& seen) override {
    if (!call) call = std::make_unique<nn::AttentionCall>(seen);
  }
};

}  // namespace

Problems checkpoint_problems(const std::filesystem::path& run_or_checkpoint, std::uint64_t seed) {
  constexpr std::int64_t longest = 128, rows_per_layer = 8;
  const auto saved = std::make_shared<train::SavedModel>(train::load_model(run_or_checkpoint));
  const train::Run::Turn turn(*saved);
  const auto dataset = train::data_of(*saved);
  const std::int64_t tokens = std::min(longest, saved->model->context());
  const std::int64_t windows = std::min<std::int64_t>(2, dataset->validation_windows());
  const std::vector<nn::BatchField> fields = saved->model->batch_fields();
  const train::HostBatch read = train::make_batch(
      fields, windows, [&](std::int64_t row, const train::Row& out) { dataset->validation_window(row, out); });
  nn::Batch batch;
  for (const nn::BatchField& field : fields) {
    const auto& [name, length, width] = field;
    if (field.is_real()) {
      batch.add(name, read.on(saved->device, {field})[name]);
      continue;
    }
    const std::int64_t kept = name == "tokens" || name == "segment" ? tokens : length;
    std::vector<std::int32_t> values;
    for (std::int64_t w = 0; w < windows; ++w) {
      const auto row = read[name].begin() + w * length;
      values.insert(values.end(), row, row + kept);
    }
    batch.add(name, Tensor::from(values, {windows, kept}, saved->device));
  }

  std::vector<std::pair<nn::RowMapAttention*, FirstCall>> layers;
  std::vector<std::string> notes;
  saved->model->visit([&](const std::string& name, nn::Module& module) {
    if (auto* layer = dynamic_cast<nn::RowMapAttention*>(&module)) {
      layers.emplace_back(layer, FirstCall{});
    } else if (dynamic_cast<nn::Attention*>(&module) != nullptr) {
      notes.push_back(fmt::format("{} is not an attention with a row map and was left out.", name));
    }
  });
  if (layers.empty()) {
    throw InputError(
        fmt::format("'{}' has no attention layer with a row map (model.kind {}): there is nothing to verify in it",
                    saved->checkpoint.string(), saved->config.model.kind));
  }
  saved->model->eval();
  for (auto& [layer, first] : layers) layer->add_observer(first);
  {
    autograd::Tape tape;  // observers see recorded calls only
    const autograd::Tape::Recording recording(tape);
    saved->model->logits(batch);
  }

  Problems out{.title = fmt::format("{} (step {}): {} attention layers, {} validation windows of {} tokens, {} rows "
                                    "drawn from each layer",
                                    saved->checkpoint.string(), saved->state.step, layers.size(), windows, tokens,
                                    rows_per_layer),
               .notes = std::move(notes),
               .owner = saved};
  RandomSequence random(seed, payoff_stream);
  int left_out = 0;
  for (auto& [layer, first] : layers) {
    layer->remove_observer(first);
    if (!first.call->args.causal) {  // an encoder's, or one that reads it
      ++left_out;
      continue;
    }
    out.layers.push_back({in_double(*first.call), layer->has_qk_norm()});
    const LayerScores scores(out.layers.back().call);
    for (std::int64_t r = 0; r < rows_per_layer; ++r) {
      out.rows.push_back(draw_row(out.layers.back().call, scores, random));
    }
  }
  if (out.layers.empty()) {
    throw InputError(fmt::format(
        "'{}': no attention layer of this run is causal, and the claims are about rows that see the earlier "
        "tokens alone; allowed: a run with such a layer (model.kind gpt, encoder_decoder, or "
        "attention_layer with causal: true)",
        saved->checkpoint.string()));
  }
  if (left_out > 0) {
    out.notes.push_back(fmt::format("{} without a causal mask {} left out.",
                                    left_out == 1 ? "1 layer" : fmt::format("{} layers", left_out),
                                    left_out == 1 ? "was" : "were"));
  }
  return out;
}

}  // namespace monge::tools
