// Calls of the fused attention kernels (core/cuda/fused/attention.h) on the emulated device, in host memory.
#pragma once

#include "core/attention_calls.h"
#include "core/cuda/fused/attention.h"
#include "simt/queue.h"
#include "simt/tensor_core.h"
#include "support/tested_device.h"

namespace monge::test {

/// The results of the fused kernels, named like those of run_attention. `stat` is the row_stat for maps that need it.
inline AttentionResults run_fused(const AttentionCase& c, const AttentionInputs& given,
                                  const std::vector<double>& stat) {
  const HeadViews in = views_of(c, given.q, given.kv);
  const auto output = [&](const Tensor& t) {
    return HeadView{t, 0, c.heads * c.head_dim, c.queries * c.heads * c.head_dim};
  };
  kernel::Attention a = call_of(c, cpu);
  a.q = in.q;
  a.k = in.k;
  a.v = in.v;
  a.out = output(sevens_like(given.dout));
  const Shape rows{c.batch, c.heads, c.queries};
  a.row_stat = simt::fused_needs_row_stat(c.map) ? Tensor::from(stat, rows, DType::f32, cpu)
                                                 : sevens_like(Tensor::zeros(rows, DType::f32, cpu));

  const Tensor dq = sevens_like(given.q), dkv = sevens_like(given.kv);
  const HeadViews grads = views_of(c, dq, dkv);
  kernel::AttentionBackward back{a, output(given.dout), grads.q, grads.k, grads.v};
  Tensor row_dq, row_dkv;
  if (c.damping) {
    row_dq = sevens_like(given.q);
    row_dkv = sevens_like(given.kv);
    const HeadViews solved = views_of(c, row_dq, row_dkv);
    back.damping = *c.damping;
    back.row_dq = solved.q;
    back.row_dk = solved.k;
    back.row_dv = solved.v;
  }
  EXPECT_EQ(simt::fused_refusal(a), "");
  EXPECT_EQ(simt::fused_refusal(back), "");
  simt::Queue queue;
  simt::fused_attention(&queue, a);
  simt::fused_attention_backward(&queue, back);
  queue.finish();

  AttentionResults results{{"out", a.out.data.values()}, {"row_stat", a.row_stat.values()}, {"dq", dq.values()}};
  if (dkv) results["dkv"] = dkv.values();
  if (row_dq) results["row_dq"] = row_dq.values();
  if (row_dkv) results["row_dkv"] = row_dkv.values();
  return results;
}

/// A packed gradient apart into those of q, k and v, which may be of different sizes; others as they are.
inline AttentionResults apart(const AttentionCase& c, const AttentionResults& results) {
  AttentionResults out;
  for (const auto& [name, values] : results) {
    const bool packed = name == "dq" || name == "row_dq", pair = name == "dkv" || name == "row_dkv";
    const auto q_width = static_cast<std::size_t>(pair ? 0 : c.heads * c.head_dim);
    const auto kv_width = static_cast<std::size_t>(pair || c.queries == c.keys ? c.kv_heads * c.head_dim : 0);
    if (!packed && !pair) {
      out[name] = values;
      continue;
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::size_t column = i % (q_width + 2 * kv_width);
      out[name + (column < q_width ? " of q" : column < q_width + kv_width ? " of k" : " of v")].push_back(values[i]);
    }
  }
  return out;
}

inline void expect_fused_equal(const AttentionCase& c, const AttentionInputs& in) {
  SCOPED_TRACE(testing::Message() << c << " MONGE_SIMT_SEED=" << simt::seed());
  const AttentionResults all = run_attention(c, in, reference), expected = apart(c, all);
  for (const auto& [name, values] : apart(c, run_fused(c, in, all.at("row_stat")))) {
    const double tolerance = name == "row_stat" ? 1e-4 : name == "out" ? 1e-2 : 2e-2;
    EXPECT_TRUE(close(values, expected.at(name), tolerance)) << name;
  }
}

inline void expect_fused_equal(const AttentionCase& c) { expect_fused_equal(c, inputs_of(c, DType::bf16)); }

}  // namespace monge::test
