// Attention calls for the tests of a device: a case, its inputs, and all results of its kernels on a device.
#pragma once

#include <cmath>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "core/backend.h"
#include "support/spans.h"
#include "support/tested_device.h"

namespace monge::test {

/// Which keys the queries see, of those that `causal` leaves.
enum class Sees : std::uint8_t {
  all,
  padded,    // those of a sequence of its own length, the first whole
  segments,  // those of one of several sequences in a row, positions being theirs
};

struct AttentionCase {
  std::int64_t batch, queries, keys, heads, kv_heads, head_dim;
  std::int64_t start = 0;
  bool causal = true, slopes = false;
  double dropout = 0.0;
  RowMap map;
  bool priors = false;                // tables for head, distance and key
  std::optional<RowDamping> damping;  // solves rows
  Sees sees = Sees::all;
};

inline std::ostream& operator<<(std::ostream& to, const AttentionCase& c) {
  return to << name_of(c.map) << " B=" << c.batch << " T=" << c.queries << " S=" << c.keys << " H=" << c.heads
            << " G=" << c.kv_heads << " D=" << c.head_dim << " start=" << c.start << (c.causal ? " causal" : "")
            << (c.slopes ? " slopes" : "") << (c.priors ? " priors" : "")
            << (c.sees == Sees::padded     ? " padded"
                : c.sees == Sees::segments ? " segments"
                                           : "")
            << " dropout=" << c.dropout;
}

/// Queries, keys and values: packed in one projection, or a projection of the queries beside a longer cache, or, where
/// sequences are padded, a source.
struct AttentionInputs {
  Tensor q, kv, dout;
};

inline AttentionInputs inputs_of(const AttentionCase& c, DType dtype) {
  const auto q_width = c.heads * c.head_dim, kv_width = 2 * c.kv_heads * c.head_dim;
  AttentionInputs in;
  in.dout = random_tensor({c.batch, c.queries, q_width}, 3, dtype, tested);
  if (c.queries == c.keys) {
    in.q = random_tensor({c.batch, c.queries, q_width + kv_width}, 1, dtype, tested);
  } else {
    in.q = random_tensor({c.batch, c.queries, q_width}, 1, dtype, tested);
    in.kv = random_tensor({c.batch, c.keys + 3, kv_width}, 2, dtype, tested);
  }
  return in;
}

/// The head views of q, k and v, or of their gradients.
struct HeadViews {
  HeadView q, k, v;
};

inline HeadViews views_of(const AttentionCase& c, const Tensor& q, const Tensor& kv) {
  const auto view = [](const Tensor& t, std::int64_t offset) {
    return HeadView{t, offset, t.size(2), t.size(1) * t.size(2)};
  };
  const auto q_width = c.heads * c.head_dim, v_offset = c.kv_heads * c.head_dim;
  if (!kv) return {view(q, 0), view(q, q_width), view(q, q_width + v_offset)};
  return {view(q, 0), view(kv, 0), view(kv, v_offset)};
}

/// A copy full of sevens: what a kernel must not write keeps them.
inline Tensor sevens_like(const Tensor& x) {
  if (!x) return x;
  const Tensor out = Tensor::like(x);
  out.backend().fill({.x = out, .value = 7.0});
  return out;
}

/// The call of a case on `device`, but for its tensors of queries, keys, values and results, and for learned priors.
inline kernel::Attention call_of(const AttentionCase& c, Device device) {
  kernel::Attention a;
  a.batch = c.batch;
  a.queries = c.queries;
  a.keys = c.keys;
  a.heads = c.heads;
  a.kv_heads = c.kv_heads;
  a.head_dim = c.head_dim;
  a.start = c.start;
  a.causal = c.causal;
  a.scale = 1.0 / std::sqrt(static_cast<double>(c.head_dim));
  a.map = c.map;
  if (c.slopes) {
    std::vector<double> slopes;
    for (std::int64_t h = 0; h < c.heads; ++h) slopes.push_back(std::exp2(-static_cast<double>(h + 1)));
    a.prior.slopes = Tensor::from(slopes, {c.heads}, backend_of(device).default_float(), device);
  }
  if (c.sees == Sees::padded) {
    Ids lengths;
    for (std::int64_t b = 0; b < c.batch; ++b) {
      lengths.push_back(static_cast<std::int32_t>(b == 0 ? c.keys : 1 + (7 * b - 2) % c.keys));
    }
    a.spans = padding_spans(lengths, c.queries, device);
  }
  if (c.sees == Sees::segments) {
    // Runs of several lengths, shifted from row to row. Keys that are the queries' own tokens have the same ids.
    Ids queries, keys;
    for (std::int64_t b = 0; b < c.batch; ++b) {
      const std::int64_t runs = 2 + b;
      for (std::int64_t i = 0; i < c.queries; ++i) {
        queries.push_back(static_cast<std::int32_t>((i * i * runs + b) / (c.queries * c.queries)));
      }
      for (std::int64_t j = 0; j < c.keys; ++j) {
        keys.push_back(c.keys == c.queries ? queries[static_cast<std::size_t>(b * c.queries + j)]
                                           : static_cast<std::int32_t>(j * runs / c.keys));
      }
    }
    a.spans = spans_by_definition(queries, c.queries, keys, c.keys, device);
  }
  a.dropout = c.dropout;
  a.random = {.seed = 11, .stream = 5, .step = Tensor::from(std::vector<std::int32_t>{9}, {1}, device)};
  return a;
}

/// Forward, backward and metric on `device`, by the name of what they write. A packed gradient is dq, dk and dv.
using AttentionResults = std::map<std::string, std::vector<double>>;

inline AttentionResults run_attention(const AttentionCase& c, const AttentionInputs& given, Device device) {
  const DType dtype = device == reference ? DType::f64 : given.q.dtype();
  const DType wide = backend_of(device).default_float();
  const Tensor q = on(device, dtype, given.q), kv = on(device, dtype, given.kv), dout = on(device, dtype, given.dout);
  const HeadViews in = views_of(c, q, kv);
  const auto output = [&](const Tensor& t) {
    return HeadView{t, 0, c.heads * c.head_dim, c.queries * c.heads * c.head_dim};
  };
  // The values of f32 on both devices.
  const auto table = [&](const Shape& shape, std::uint64_t seed) {
    return on(device, wide, random_tensor(shape, seed, DType::f32, tested, 0.5));
  };

  kernel::Attention a = call_of(c, device);
  if (c.priors) {
    a.prior.head = table({c.heads}, 21);
    a.prior.distance = table({c.heads, std::max(c.start + c.queries, c.keys) + 3}, 22);
    a.prior.key = table({c.heads, c.keys + 2}, 23);
  }
  a.q = in.q;
  a.k = in.k;
  a.v = in.v;
  a.out = output(Tensor::like(dout));
  a.row_stat = Tensor::zeros({c.batch, c.heads, c.queries}, wide, device);
  backend_of(device).attention(a);

  const Tensor dq = sevens_like(q), dkv = sevens_like(kv);
  const HeadViews grads = views_of(c, dq, dkv);
  kernel::AttentionBackward back{a, output(dout), grads.q, grads.k, grads.v};
  back.dprior = {sevens_like(a.prior.head), sevens_like(a.prior.distance), sevens_like(a.prior.key), {}};
  Tensor row_dq, row_dkv;
  if (c.damping) {
    row_dq = sevens_like(q);
    row_dkv = sevens_like(kv);
    const HeadViews rows = views_of(c, row_dq, row_dkv);
    back.damping = *c.damping;
    back.row_dq = rows.q;
    back.row_dk = rows.k;
    back.row_dv = rows.v;
  }
  backend_of(device).attention_backward(back);

  AttentionResults results;
  const auto keep = [&](const char* name, const Tensor& x) {
    if (x) results[name] = x.values();
  };
  if (metric_of(c.map) != Metric::none) {
    const Tensor y = table({c.batch, c.keys, 5}, 24);
    const Tensor column_sums = sevens_like(Tensor::zeros({c.batch, c.keys}, wide, device));
    const Tensor products = sevens_like(Tensor::zeros({c.batch, c.queries, 5}, wide, device));
    backend_of(device).attention_metric({a, c.heads - 1, y, column_sums, products});
    keep("column_sums", column_sums);
    keep("products", products);
  }
  keep("out", a.out.data);
  keep("row_stat", a.row_stat);
  keep("dq", dq);
  keep("dkv", dkv);
  // One list: where a shift of the scores changes nothing, the gradient of the head's term is a sum of these to zero.
  for (const Tensor& x : {back.dprior.head, back.dprior.distance, back.dprior.key}) {
    const auto values = x ? x.values() : std::vector<double>{};
    results["dprior"].insert(results["dprior"].end(), values.begin(), values.end());
  }
  keep("row_dq", row_dq);
  keep("row_dkv", row_dkv);
  return results;
}

/// How far f32 may be off: 1e-5, with two exceptions. Scores are right to about 3e-7, and at the edge of the support of
/// entmax with alpha > 1.5 that is much: s = x^((2 - alpha) / (alpha - 1)) rises steeply with the distance x from it.
/// And w = s / (s + lambda / n) multiplies an error of a small s by up to n / lambda: next to an edge, and where a
/// sigmoid is near 1, so that s = a (1 - a) has lost its digits.
inline double f32_tolerance(const RowMap& map, const std::string& result) {
  const std::string_view kind = name_of(map);
  double alpha = 0.0;
  visit_row_map(map, [&](const auto& m) {
    if constexpr (requires { m.alpha; }) alpha = m.alpha;
  });
  const bool steep = kind == "entmax" && alpha > 1.5;
  const bool small_s = kind == "entmax" || kind == "entmax15" || kind == "sigmoid";
  const bool solved = result == "row_dq" || result == "row_dkv";
  return (small_s && solved) || (steep && result != "out" && result != "row_stat") ? 5e-5 : 1e-5;
}

/// Row statistics and metrics are f32 in every storage; of the rest, outputs are right to 1e-2 in bf16 and gradients to
/// 2e-2. `slack` is for cases that are harder than most.
inline void expect_equal(const AttentionCase& c, const AttentionInputs& in, double slack = 1.0) {
  SCOPED_TRACE(testing::Message() << c << " " << name_of(in.q.dtype()));
  const AttentionResults got = run_attention(c, in, tested), expected = run_attention(c, in, reference);
  ASSERT_EQ(got.size(), expected.size());
  for (const auto& [name, values] : expected) {
    const bool wide = name == "row_stat" || name == "column_sums" || name == "products";
    const double tolerance = in.q.dtype() == DType::f32 || wide ? slack * f32_tolerance(c.map, name)
                             : name == "out"                    ? 1e-2
                                                                : 2e-2;
    EXPECT_TRUE(close(got.at(name), values, tolerance)) << name;
  }
}

inline void expect_equal(const AttentionCase& c) {
  for (const DType dtype : {DType::f32, DType::bf16}) expect_equal(c, inputs_of(c, dtype));
}

}  // namespace monge::test
