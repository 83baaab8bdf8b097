#include "nn/attention/attention.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace monge::nn {
namespace {

/// The packed projections of the tokens seen so far, of which attention reads keys and values.
struct ProjectionCache : Cache {
  Tensor qkv;  // (B, context, (H + 2 G) D)
};

/// Keys and values of the source.
struct SourceCache : Cache {
  Tensor kv;        // (B, S, 2 G D)
  Tensor segments;  // (B, S)
};

/// Runs `call` for queries (B, T, ...), which have no gradient.
Tensor run(kernel::Attention call) {
  const Tensor& q = call.q.data;
  const std::int64_t width = call.heads * call.head_dim;
  const Tensor out = Tensor::empty({call.batch, call.queries, width}, q.dtype(), q.device());
  call.dropout = 0.0;
  call.out = {out, 0, width, call.queries * width};
  call.row_stat = Tensor::empty({call.batch, call.heads, call.queries}, q.backend().default_float(), q.device());
  q.backend().attention(call);
  return out;
}

}  // namespace

/// LayerNorm of every query and key head on its own, the gains shared by the heads (Henry et al. 2020,
/// arXiv:2010.04245; Dehghani et al. 2023, arXiv:2302.05442). Values pass through.
class QueryKeyNorm : public Module {
 public:
  QueryKeyNorm(std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim)
      : heads_(heads),
        kv_heads_(kv_heads),
        head_dim_(head_dim),
        gain_(add_parameter("gain", {2, head_dim}, Role::gain, Init::constant(1.0))) {}

  /// qkv (B, T, (H + 2 G) D). With `trains_gain` false the gain is a constant, below as well.
  Var forward(const Var& qkv, bool trains_gain) const {
    return autograd::concat({normalised(qkv, 0, heads_, 0, trains_gain),
                             normalised(qkv, heads_, kv_heads_, 1, trains_gain), rest(qkv, heads_ + kv_heads_)},
                            -1);
  }
  /// q (B, T, H D).
  Var of_queries(const Var& q, bool trains_gain) const { return normalised(q, 0, heads_, 0, trains_gain); }
  /// kv (B, S, 2 G D).
  Var of_keys(const Var& kv, bool trains_gain) const {
    return autograd::concat({normalised(kv, 0, kv_heads_, 1, trains_gain), rest(kv, kv_heads_)}, -1);
  }

 private:
  Var normalised(const Var& x, std::int64_t first, std::int64_t heads, std::int64_t which, bool trains_gain) const {
    const Var gains = trains_gain ? gain_.var() : Var(gain_.var().value());
    const Var gain = autograd::reshape(autograd::slice(gains, which, which + 1), {head_dim_});
    const Var part = autograd::slice(x, -1, first * head_dim_, (first + heads) * head_dim_);
    const Var by_head = autograd::reshape(part, {part.shape().rows(), heads, head_dim_});
    return autograd::reshape(autograd::layer_norm(by_head, gain, {}), part.shape());
  }
  Var rest(const Var& x, std::int64_t first) const { return autograd::slice(x, -1, first * head_dim_, x.size(-1)); }

  std::int64_t heads_, kv_heads_, head_dim_;
  Parameter& gain_;  // (2, D): of queries and of keys
};

void AttentionOptions::fields(Fields& f) {
  f("qk_norm", qk_norm, {.doc = "LayerNorm of every query and key head, which bounds the scores"});
  f("relative_prior", relative_prior, {.doc = "a learned log-prior for each head and distance, 0 at the start"});
  f("key_prior", key_prior,
    {.doc = "a learned log-prior for each head and position of the key (a sink is one that grows), 0 at the start"});
}

RowMapAttention::RowMapAttention(RowMap map, const AttentionOptions& options, const LayerContext& c, Position& position,
                                 const HeadBias& bias)
    : heads_(c.heads),
      kv_heads_(c.kv_heads),
      head_dim_(c.head_dim()),
      context_(c.context),
      reads_(c.reads),
      map_(std::move(map)),
      position_(position),
      position_prior_(position.make_prior()),
      out_({.in = c.width, .out = c.width, .bias = c.bias, .stddev = c.residual_stddev}),
      weight_dropout_(*c.dropout),
      head_bias_(bias.initial) {
  const Part q{"q", heads_ * head_dim_, heads_}, k{"k", kv_heads_ * head_dim_, kv_heads_};
  const Part v{"v", k.rows, kv_heads_};
  const auto project = [&](const char* name, std::vector<Part> parts) {
    std::int64_t rows = 0;
    for (const Part& part : parts) rows += part.rows;
    auto linear = std::make_unique<Linear>(
        Linear::Options{.in = c.width, .out = rows, .bias = c.bias, .parts = std::move(parts)});
    add_module(name, *linear);
    return linear;
  };
  if (crosses()) {
    q_ = project("q", {q});
    kv_ = project("kv", {k, v});
  } else {
    qkv_ = project("qkv", {q, k, v});
  }
  add_module("out", out_);
  if (options.qk_norm) {
    query_key_norm_ = std::make_unique<QueryKeyNorm>(heads_, kv_heads_, head_dim_);
    add_module("qk_norm", *query_key_norm_);
  }
  if (position_prior_) add_module("prior", *position_prior_);
  const std::int64_t keys = crosses() ? c.source : c.context;
  if (options.relative_prior) {
    distance_prior_ =
        &add_parameter("relative_prior", {heads_, std::max(c.context, keys)}, Role::bias, Init::constant(0.0));
  }
  if (options.key_prior) {
    key_prior_ = &add_parameter("key_prior", {heads_, keys}, Role::bias, Init::constant(0.0));
  }
  const auto given = static_cast<std::int64_t>(bias.initial.size());
  if (given > 1 && given != heads_) {
    throw KeyError("model.attention.bias",
                   fmt::format("{} numbers for {} heads; give one number, or one for each head", given, heads_));
  }
  if (given == 1) head_bias_.assign(static_cast<std::size_t>(heads_), bias.initial.front());
  if (bias.learned) head_prior_ = &add_parameter("bias", {heads_}, Role::bias, Init::constant(0.0));
}

RowMapAttention::~RowMapAttention() = default;

ProjectionRows RowMapAttention::query_rows() const {
  const Linear& linear = *(crosses() ? q_ : qkv_);
  return {&linear.weight(), 0, heads_ * head_dim_, linear.bias()};
}
ProjectionRows RowMapAttention::key_rows() const {
  const Linear& linear = *(crosses() ? kv_ : qkv_);
  return {&linear.weight(), crosses() ? 0 : heads_ * head_dim_, kv_heads_ * head_dim_, linear.bias()};
}
ProjectionRows RowMapAttention::value_rows() const {
  ProjectionRows rows = key_rows();
  rows.first += rows.count;
  return rows;
}

void RowMapAttention::add_observer(AttentionObserver& observer) {
  if (std::ranges::find(observers_, &observer) == observers_.end()) observers_.push_back(&observer);
}

void RowMapAttention::set_row_damping(std::optional<RowDamping> damping) {
  require(!damping || metric_of(map_) != Metric::none, "{} has no symmetric Jacobian, so no natural gradient",
          name_of(map_));
  row_damping_ = damping;
}

Var RowMapAttention::place(const Var& qkv, std::int64_t start, bool trains_gain) const {
  return position_.rotate(query_key_norm_ ? query_key_norm_->forward(qkv, trains_gain) : qkv, start);
}

autograd::AttentionSpec RowMapAttention::spec(std::int64_t keys, Device device, const KeySpans& spans) const {
  const auto var = [](const Parameter* p) { return p != nullptr ? p->var() : Var(); };
  const auto table = [&](const Parameter* learned, Var (PositionPrior::*of)(std::int64_t, Device) const) {
    if (!position_prior_) return var(learned);
    const Var prior = (*position_prior_.*of)(keys, device);
    if (learned == nullptr) return prior;
    return autograd::add(autograd::slice(autograd::cast(*learned, prior.value().dtype()), 1, 0, keys), prior);
  };
  Var head_prior = var(head_prior_);
  if (!head_bias_.empty()) {
    const DType dtype = head_prior.defined() ? head_prior.value().dtype() : backend_of(device).default_float();
    if (!fixed_bias_.defined() || !(fixed_bias_.device() == device)) {
      fixed_bias_ = Tensor::from(head_bias_, {heads_}, dtype, device, Pool::parameters);
    }
    head_prior = head_prior.defined() ? autograd::add(head_prior, Var(fixed_bias_)) : Var(fixed_bias_);
  }
  return {.heads = heads_,
          .kv_heads = kv_heads_,
          .causal = reads_ == Reads::earlier,
          .spans = spans,
          .scale = 1.0 / std::sqrt(static_cast<double>(head_dim_)),
          .map = map_,
          .head_prior = head_prior,
          .distance_prior = table(distance_prior_, &PositionPrior::of_distance),
          .key_prior = table(key_prior_, &PositionPrior::of_key),
          .slopes = position_.slopes(device),
          .dropout = weight_dropout_.p(),
          .random = weight_dropout_.random(),
          .damping = row_damping_.value_or(RowDamping{})};
}

void RowMapAttention::show(const Var& x, const Var& source, const kernel::Attention& call) {
  if (!autograd::Tape::recording()) return;
  for (AttentionObserver* observer : observers_) observer->observe({x.value(), source.value(), call, &position_});
}

Var RowMapAttention::forward_with(const Var& x, const Source& source) {
  const std::int64_t keys = (crosses() ? source.states : x).size(1);
  const autograd::AttentionSpec how = spec(keys, x.value().device(), crosses() ? source.of_states : source.of_tokens);
  return out_.forward(crosses() ? attend_to_source(x, source.states, how) : attend_to_itself(x, how));
}

Var RowMapAttention::attend_to_itself(const Var& x, const autograd::AttentionSpec& how) {
  Var qkv, row_qkv;
  if (row_damping_) {
    const autograd::SplitLinear projected = qkv_->split(x);
    qkv = place(projected.for_input, 0, true);
    row_qkv = place(projected.for_weight, 0, false);
  } else {
    qkv = place(qkv_->forward(x), 0, true);
  }
  show(x, x, autograd::attention_call(qkv.value(), how));
  return autograd::attention(qkv, how, row_qkv);
}

Var RowMapAttention::attend_to_source(const Var& x, const Var& states, const autograd::AttentionSpec& how) {
  const auto queries = [this](const Var& q, bool trains_gain) {
    return query_key_norm_ ? query_key_norm_->of_queries(q, trains_gain) : q;
  };
  const auto keys = [this](const Var& kv, bool trains_gain) {
    return query_key_norm_ ? query_key_norm_->of_keys(kv, trains_gain) : kv;
  };
  Var q, kv, row_q, row_kv;
  if (row_damping_) {
    const autograd::SplitLinear q_projected = q_->split(x), kv_projected = kv_->split(states);
    q = queries(q_projected.for_input, true);
    kv = keys(kv_projected.for_input, true);
    row_q = queries(q_projected.for_weight, false);
    row_kv = keys(kv_projected.for_weight, false);
  } else {
    q = queries(q_->forward(x), true);
    kv = keys(kv_->forward(states), true);
  }
  show(x, states, autograd::attention_call(q.value(), kv.value(), how));
  return autograd::cross_attention(q, kv, how, row_q, row_kv);
}

std::unique_ptr<Cache> RowMapAttention::make_cache(const CacheContext& context) const {
  const std::int64_t width = (heads_ + 2 * kv_heads_) * head_dim_;
  auto cache = std::make_unique<ProjectionCache>();
  cache->qkv = Tensor::zeros({context.batch, context_, width}, context.dtype, context.device);
  return cache;
}

std::unique_ptr<Cache> RowMapAttention::make_cache_with(const CacheContext&, const Source& source) const {
  const Var kv = kv_->forward(source.states);
  auto cache = std::make_unique<SourceCache>();
  cache->kv = (query_key_norm_ ? query_key_norm_->of_keys(kv, true) : kv).value();
  cache->segments = source.segments;
  return cache;
}

Var RowMapAttention::forward_cached(const Var& x, Cache& cache, std::int64_t start) {
  if (crosses()) {
    const auto& seen = dynamic_cast<SourceCache&>(cache);
    const Var q = q_->forward(x);
    const Tensor queries = (query_key_norm_ ? query_key_norm_->of_queries(q, true) : q).value();
    KeySpans spans;
    if (seen.segments) {
      const Tensor first = Tensor::zeros({x.size(0), x.size(1)}, DType::i32, queries.device());
      spans.keys = autograd::spans_of(first, seen.segments).keys;  // positions go on from `start`
    }
    kernel::Attention call = autograd::attention_call(queries, seen.kv, spec(seen.kv.size(1), queries.device(), spans));
    call.start = start;
    return out_.forward(run(call));
  }
  // Queries of the new tokens against the keys and values of all tokens so far.
  const Tensor qkv = place(qkv_->forward(x), start, true).value(), &seen = dynamic_cast<ProjectionCache&>(cache).qkv;
  const std::int64_t batch = qkv.size(0), tokens = qkv.size(1), width = qkv.size(2);
  require(start + tokens <= context_, "[attention] {} tokens after {} do not fit into a cache of {}", tokens, start,
          context_);
  for (std::int64_t b = 0; b < batch; ++b) {
    qkv.backend().copy(
        {.from = qkv.slice(b, b + 1), .to = seen.flat_view((b * context_ + start) * width, {1, tokens, width})});
  }
  kernel::Attention call = autograd::attention_call(qkv, spec(start + tokens, qkv.device(), {}));
  const auto in_cache = [&](const HeadView& view) { return HeadView{seen, view.offset, width, context_ * width}; };
  call.keys = start + tokens;
  call.start = start;
  call.k = in_cache(call.k);
  call.v = in_cache(call.v);
  return out_.forward(run(call));
}

}  // namespace monge::nn
