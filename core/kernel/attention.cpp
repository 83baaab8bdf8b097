#include "core/kernel/attention.h"

#include "core/kernel/need.h"

namespace monge::kernel {
namespace {

void check_map(const Call& call, Device device, const RowMap& map) {
  const std::string wrong = wrong_setting(map);
  need(call, wrong.empty(), "{}", wrong);
  if (custom_of(map) != nullptr && device.kind == DeviceKind::cuda) {
    throw InputError(
        fmt::format("the row map '{}' is the program's own and runs on the devices cpu and reference; write "
                    "it as a map of core/row_map to run it on {}",
                    name_of(map), device.str()));
  }
}

/// What the scores and the map read.
void check_scores(const Call& call, const Attention& a) {
  need(call, a.batch >= 0 && a.queries >= 0 && a.keys >= 0 && a.start >= 0,
       "batch {}, queries {}, keys {} and start {} must not be negative", a.batch, a.queries, a.keys, a.start);
  need(call, a.head_dim > 0 && a.kv_heads > 0 && a.heads > 0 && a.heads % a.kv_heads == 0,
       "{} heads of {} cannot share {} key/value heads", a.heads, a.head_dim, a.kv_heads);
  need(call, a.spans.keys.defined() || !a.spans.positions.defined(), "there are positions in spans, and no spans");
  call.count("spans.keys", a.spans.keys, 2 * a.batch * a.queries);
  call.count("spans.positions", a.spans.positions, a.batch * a.queries);
  call.count("prior.head", a.prior.head, a.heads);
  call.count("prior.slopes", a.prior.slopes, a.heads);
  if (a.prior.distance) {
    const auto longest = a.causal ? a.start + a.queries : std::max(a.start + a.queries, a.keys);
    call.matrix("prior.distance", a.prior.distance, a.heads, a.prior.distance.shape().last());
    need(call, a.prior.distance.shape().last() >= longest, "prior.distance knows {} distances of {}",
         a.prior.distance.shape().last(), longest);
  }
  if (a.prior.key) {
    call.matrix("prior.key", a.prior.key, a.heads, a.prior.key.shape().last());
    need(call, a.prior.key.shape().last() >= a.keys, "prior.key knows {} keys of {}", a.prior.key.shape().last(),
         a.keys);
  }
  check_map(call, a.q.data.device(), a.map);
  check_view(call, "q", a.q, a.batch, a.queries, a.heads, a.head_dim);
  check_view(call, "k", a.k, a.batch, a.keys, a.kv_heads, a.head_dim);
}

void check_attention(const Call& call, const Attention& a) {
  check_scores(call, a);
  need(call, a.dropout >= 0.0 && a.dropout < 1.0, "dropout must be in [0, 1), got {}", a.dropout);
  call.count("random.step", a.random.step, 1);
  call.count("row_stat", a.row_stat, a.batch * a.heads * a.queries);
  check_view(call, "v", a.v, a.batch, a.keys, a.kv_heads, a.head_dim);
  check_view(call, "out", a.out, a.batch, a.queries, a.heads, a.head_dim);
}

/// A gradient is asked for only where there is a table, and has its size.
void check_prior_gradient(const Call& call, const char* name, const Tensor& gradient, const Tensor& table) {
  need(call, !gradient || table, "{} is the gradient of a prior that is none", name);
  if (gradient) call.count(name, gradient, table.numel());
}

/// Of one head's product over the pairs of queries and keys that see each other.
double flops_of_head(const Attention& a, std::int64_t width) {
  const auto queries = static_cast<double>(a.queries), keys = static_cast<double>(a.keys);
  const double pairs = queries * (a.causal ? keys - queries / 2.0 : keys);
  return 2.0 * static_cast<double>(a.batch) * pairs * static_cast<double>(width);
}

double flops_of_heads(const Attention& a) { return static_cast<double>(a.heads) * flops_of_head(a, a.head_dim); }

profile::Operand heads_of(const char* name, const HeadView& view, const Attention& a, std::int64_t tokens,
                          std::int64_t heads) {
  return operand_of(name, view, a.batch, tokens, heads, a.head_dim);
}

std::vector<profile::Operand> operands_of(const Attention& a) {
  return {heads_of("q", a.q, a, a.queries, a.heads), heads_of("k", a.k, a, a.keys, a.kv_heads),
          heads_of("v", a.v, a, a.keys, a.kv_heads), heads_of("out", a.out, a, a.queries, a.heads)};
}

}  // namespace

SpanReader::SpanReader(const Attention& args)
    : queries(args.queries), all_keys(args.keys), start(args.start), causal(args.causal) {
  if (!args.spans) return;
  keys = args.spans.keys.data_as<std::int32_t>();
  if (args.spans.positions) positions = args.spans.positions.data_as<std::int32_t>();
}

Call check(const Attention& args, Device device) {
  const Call call("attention", device,
                  {{"q", &args.q.data},
                   {"k", &args.k.data},
                   {"v", &args.v.data},
                   {"out", &args.out.data},
                   {"row_stat", &args.row_stat, Type::f32},
                   optional("spans.keys", &args.spans.keys, Type::i32),
                   optional("spans.positions", &args.spans.positions, Type::i32),
                   optional("prior.head", &args.prior.head, Type::f32),
                   optional("prior.distance", &args.prior.distance, Type::f32),
                   optional("prior.key", &args.prior.key, Type::f32),
                   optional("prior.slopes", &args.prior.slopes, Type::f32),
                   optional("random.step", &args.random.step, Type::i32)});
  check_attention(call, args);
  for (const HeadView* in : {&args.q, &args.k, &args.v}) call.apart("out", args.out.data, in->data);
  return call;
}

Call check(const AttentionBackward& args, Device device) {
  const Attention& a = args.forward;
  const Call call("attention_backward", device,
                  {{"q", &a.q.data},
                   {"k", &a.k.data},
                   {"v", &a.v.data},
                   {"out", &a.out.data},
                   {"row_stat", &a.row_stat, Type::f32},
                   optional("spans.keys", &a.spans.keys, Type::i32),
                   optional("spans.positions", &a.spans.positions, Type::i32),
                   optional("prior.head", &a.prior.head, Type::f32),
                   optional("prior.distance", &a.prior.distance, Type::f32),
                   optional("prior.key", &a.prior.key, Type::f32),
                   optional("prior.slopes", &a.prior.slopes, Type::f32),
                   optional("random.step", &a.random.step, Type::i32),
                   {"dout", &args.dout.data},
                   {"dq", &args.dq.data},
                   {"dk", &args.dk.data},
                   {"dv", &args.dv.data},
                   optional("dprior.head", &args.dprior.head, Type::f32),
                   optional("dprior.distance", &args.dprior.distance, Type::f32),
                   optional("dprior.key", &args.dprior.key, Type::f32),
                   optional("row_dq", &args.row_dq.data),
                   optional("row_dk", &args.row_dk.data),
                   optional("row_dv", &args.row_dv.data)});
  check_attention(call, a);
  check_prior_gradient(call, "dprior.head", args.dprior.head, a.prior.head);
  check_prior_gradient(call, "dprior.distance", args.dprior.distance, a.prior.distance);
  check_prior_gradient(call, "dprior.key", args.dprior.key, a.prior.key);
  const bool solves_rows = args.row_dq.data.defined();
  need(call, solves_rows == args.row_dk.data.defined() && solves_rows == args.row_dv.data.defined(),
       "row_dq, row_dk and row_dv come together");
  if (solves_rows) {
    need(call, args.damping.lambda > 0.0, "the damping of rows must be greater than 0, got {}", args.damping.lambda);
    need(call, metric_of(a.map) != Metric::none, "{} has no symmetric Jacobian, so no natural gradient",
         name_of(a.map));
    check_view(call, "row_dq", args.row_dq, a.batch, a.queries, a.heads, a.head_dim);
    check_view(call, "row_dk", args.row_dk, a.batch, a.keys, a.kv_heads, a.head_dim);
    check_view(call, "row_dv", args.row_dv, a.batch, a.keys, a.kv_heads, a.head_dim);
  }
  check_view(call, "dout", args.dout, a.batch, a.queries, a.heads, a.head_dim);
  check_view(call, "dq", args.dq, a.batch, a.queries, a.heads, a.head_dim);
  check_view(call, "dk", args.dk, a.batch, a.keys, a.kv_heads, a.head_dim);
  check_view(call, "dv", args.dv, a.batch, a.keys, a.kv_heads, a.head_dim);
  for (const HeadView* in : {&a.q, &a.k, &a.v, &a.out, &args.dout}) {
    for (const HeadView* out : {&args.dq, &args.dk, &args.dv, &args.row_dq, &args.row_dk, &args.row_dv}) {
      call.apart("the gradient", out->data, in->data);
    }
  }
  return call;
}

Call check(const AttentionMetric& args, Device device) {
  const Attention& a = args.forward;
  const Call call("attention_metric", device,
                  {{"q", &a.q.data},
                   {"k", &a.k.data},
                   optional("spans.keys", &a.spans.keys, Type::i32),
                   optional("spans.positions", &a.spans.positions, Type::i32),
                   optional("prior.head", &a.prior.head, Type::f32),
                   optional("prior.distance", &a.prior.distance, Type::f32),
                   optional("prior.key", &a.prior.key, Type::f32),
                   optional("prior.slopes", &a.prior.slopes, Type::f32),
                   {"y", &args.y, Type::f32},
                   {"column_sums", &args.column_sums, Type::f32},
                   {"products", &args.products, Type::f32}});
  check_scores(call, a);
  need(call, metric_of(a.map) != Metric::none, "{} has no symmetric Jacobian, so no metric", name_of(a.map));
  need(call, args.head >= 0 && args.head < a.heads, "head {} of {}", args.head, a.heads);
  const auto width = args.y.shape().last();
  call.matrix("y", args.y, a.batch * a.keys, width);
  call.count("column_sums", args.column_sums, a.batch * a.keys);
  call.matrix("products", args.products, a.batch * a.queries, width);
  return call;
}

double flops_of(const Attention& args) { return 2.0 * flops_of_heads(args); }

double flops_of(const AttentionBackward& args) {
  return (args.row_dq.data.defined() ? 7.0 : 5.0) * flops_of_heads(args.forward);
}

double flops_of(const AttentionMetric& args) {
  return flops_of_head(args.forward, args.forward.head_dim) + flops_of_head(args.forward, args.y.size(-1));
}

profile::KernelCall describe(const Call& call, const Attention& args) {
  return {.name = call.name(), .operands = operands_of(args), .flops = flops_of(args)};
}

profile::KernelCall describe(const Call& call, const AttentionBackward& args) {
  const Attention& a = args.forward;
  profile::KernelCall out{.name = call.name(), .operands = operands_of(a), .flops = flops_of(args)};
  const auto add = [&](const char* name, const HeadView& view, std::int64_t tokens, std::int64_t heads) {
    if (view.data) out.operands.push_back(heads_of(name, view, a, tokens, heads));
  };
  add("dout", args.dout, a.queries, a.heads);
  add("dq", args.dq, a.queries, a.heads);
  add("dk", args.dk, a.keys, a.kv_heads);
  add("dv", args.dv, a.keys, a.kv_heads);
  add("row_dq", args.row_dq, a.queries, a.heads);
  add("row_dk", args.row_dk, a.keys, a.kv_heads);
  add("row_dv", args.row_dv, a.keys, a.kv_heads);
  return out;
}

profile::KernelCall describe(const Call& call, const AttentionMetric& args) {
  const Attention& a = args.forward;
  return {.name = call.name(),
          .operands = {heads_of("q", a.q, a, a.queries, 1),
                       heads_of("k", a.k, a, a.keys, 1),
                       {"y", args.y.shape(), args.y.dtype()},
                       {"products", args.products.shape(), args.products.dtype()}},
          .flops = flops_of(args)};
}

}  // namespace monge::kernel
