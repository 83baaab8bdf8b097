// Attention, its backward and the metric of its rows.
#pragma once

#include "core/kernel/head_view.h"
#include "core/random.h"
#include "core/row_map/row_map.h"

namespace monge {

/// Terms added to the scores: the logarithm of the prior under which a row is transported (for softmax; a bias for
/// maps without normalisation). With i, j the positions of query and key:
///   prior_ij = head_h + distance_h[|i - j|] + key_h[j] - slope_h |i - j|.
/// All f32 (reference: f64), each may be none.
struct LogPrior {
  Tensor head;      // (H)
  Tensor distance;  // (H, N), N > every distance
  Tensor key;       // (H, N), N >= keys
  Tensor slopes;    // (H): ALiBi; not trained
};

/// Which keys the queries see where that is not all keys: sources are padded, or a row holds several sequences
/// (core/kernel/segments.h). i32; both may be none.
struct KeySpans {
  Tensor keys;       // (B, T, 2): the first key that a query sees, and one past the last
  Tensor positions;  // (B, T): where a query stands, its first key being at 0; or none: query i at start + i

  explicit operator bool() const { return keys.defined(); }
};

/// lambda_i of a row of n_i keys, in the damped row solve (H_i + lambda_i I)^-1 H_i u of core/row_map/row_map.h.
struct RowDamping {
  enum class Scale : std::uint8_t {
    per_key,   // lambda / n_i: how far keys are damped does not depend on n_i
    absolute,  // lambda
    trace,     // lambda max(trace H_i, least_trace) / n_i
  };
  static constexpr double least_trace = 0.01;  // peaked rows would leave their unlikely keys undamped
  double lambda = 0.1;
  Scale scale = Scale::per_key;
};

}  // namespace monge

namespace monge::kernel {

/// out_i = sum_j a_ij v_j with a_i = map(scale <q_i, k_j> + prior_ij), for each sequence and head.
/// Query i stands at position `start + i`; under `causal` it sees the keys 0 .. start + i. With `spans` it sees of
/// these the keys of its span alone, one at least, and positions are those of the span. Query head h reads key/value
/// head h / (H / G).
struct Attention {
  std::int64_t batch = 0, queries = 0, keys = 0, heads = 0, kv_heads = 0, head_dim = 0;
  std::int64_t start = 0;
  bool causal = true;
  KeySpans spans;
  double scale = 1.0;
  RowMap map;
  LogPrior prior;
  double dropout = 0.0;  // probability of dropping a weight; element ((b H + h) T + i) S + j of the stream `random`
  Random random;
  HeadView q, k, v;
  HeadView out;
  Tensor row_stat;  // (B, H, T) f32/f64: what the map keeps of each row for backward (softmax: log-sum-exp)
};

struct AttentionBackward {
  Attention forward;  // as it was called, `out` and `row_stat` filled
  HeadView dout;
  HeadView dq, dk, dv;  // overwritten
  LogPrior dprior;      // overwritten; each defined or none like its prior, slopes none
  RowDamping damping;
  HeadView row_dq, row_dk, row_dv;  // overwritten: dq and dk with the damped natural gradient of each row in the place
                                    // of dL/dz, from the same pass, and dv once more; or all none
};

/// What the metric H_i = diag(s_i) - s_i s_i^T / c_i of the rows of one head makes of vectors y_j at the keys:
///   column_sums_j = sum_i s_ij,    products_i = sum_j s_ij y_j / sqrt(c_i)    (0 where c_i is infinite),
/// so that sum_i Y^T H_i Y = Y^T diag(column_sums) Y - products^T products. Dropout plays no part.
struct AttentionMetric {
  Attention forward;  // q, k, map and prior are read; v, out and row_stat are not
  std::int64_t head = 0;
  Tensor y;            // (B, S, E) f32/f64
  Tensor column_sums;  // (B, S) f32/f64
  Tensor products;     // (B, T, E) f32/f64
};

/// The keys begin .. end - 1 of one query, and its position from `begin` on.
struct KeySpan {
  std::int64_t begin, end, position;

  MONGE_HD std::int64_t size() const { return end - begin; }
};

/// Reads the spans of a call, whose tensors may hold anything: where a call has keys, every query sees one at least.
struct SpanReader {
  const std::int32_t *keys = nullptr, *positions = nullptr;  // of KeySpans, or null
  std::int64_t queries = 0, all_keys = 0, start = 0;
  bool causal = true;

  SpanReader() = default;
  explicit SpanReader(const Attention& args);

  MONGE_HD KeySpan at(std::int64_t b, std::int64_t i) const {
    const auto within = [](std::int64_t x, std::int64_t least, std::int64_t most) {
      return x < least || most < least ? least : x > most ? most : x;
    };
    KeySpan span{0, all_keys, start + i};
    if (keys != nullptr && all_keys > 0) {
      const std::int64_t at = b * queries + i;
      span.begin = within(keys[2 * at], 0, all_keys - 1);
      span.end = within(keys[2 * at + 1], span.begin + 1, all_keys);
      if (positions != nullptr) span.position = within(positions[at], 0, start + queries - 1);
    }
    if (causal) {
      span.begin = span.begin < start + i ? span.begin : start + i;
      span.end = span.end < start + i + 1 ? span.end : start + i + 1;
    }
    return span;
  }
};

Call check(const Attention& args, Device device);
Call check(const AttentionBackward& args, Device device);
Call check(const AttentionMetric& args, Device device);

/// Two products of T x S x D per head; of these the part that the causal mask leaves, T (S - T / 2).
double flops_of(const Attention& args);
/// Five such products, and two more with a row solve.
double flops_of(const AttentionBackward& args);
/// One such product, and one with the width of y.
double flops_of(const AttentionMetric& args);

profile::KernelCall describe(const Call& call, const Attention& args);
profile::KernelCall describe(const Call& call, const AttentionBackward& args);
profile::KernelCall describe(const Call& call, const AttentionMetric& args);

}  // namespace monge::kernel
