// Attention of one query to all tokens so far: softmax attention as a recurrence (Feng et al. 2024, "Attention as an
// RNN", arXiv:2405.13956).
#pragma once

#include "core/kernel/head_view.h"

namespace monge::kernel {

/// out_i = sum_{j <= i} a_ij v_j with a_i = softmax of s_j = scale <q, k_j> over j <= i, for each sequence and head;
/// the query q is the same for all tokens. Query head h reads key/value head h / (H / G).
///
/// Of the tokens so far D + 2 numbers are enough, their state: the largest score m, the denominator
/// u = sum e^(s_j - m) and the weighted sum w = sum e^(s_j - m) v_j; of no tokens it is (-infinity, 0, 0). What
/// backward needs is the gate g_i = a_ii, the weight of the newest token: out_i = (1 - g_i) out_{i-1} + g_i v_i.
struct PrefixAttention {
  std::int64_t batch = 0, tokens = 0, heads = 0, kv_heads = 0, head_dim = 0;
  double scale = 1.0;
  Tensor q;  // (H, D)
  HeadView k, v;
  HeadView out;
  Tensor gate;    // (B, H, T) f32/f64
  Tensor before;  // (B, H, D + 2) f32/f64: the state m, u, w before the first token, or none: no tokens
  Tensor after;   // the state after the last token, or none; may be `before` (in place)
};

/// The state before the first token counts as a constant. With dO the gradient of out, from the last token on:
///   B_j = dO_j + (1 - g_{j+1}) B_{j+1},    c_j = <dO_j, out_j> + (1 - g_{j+1}) c_{j+1},
///   dv_j = g_j B_j,    ds_j = g_j (<v_j, B_j> - c_j),
/// since a_ij = g_j (1 - g_{j+1}) ... (1 - g_i): no factor is over 1.
struct PrefixAttentionBackward {
  PrefixAttention forward;  // as it was called, `out` and `gate` filled; `after` is not read
  HeadView dout;
  HeadView dk, dv;  // overwritten
  Tensor dq;        // (H, D); may be f32 when q is bf16
  bool accumulate_q = false;
};

Call check(const PrefixAttention& args, Device device);
Call check(const PrefixAttentionBackward& args, Device device);

/// Both only pass over memory.
profile::KernelCall describe(const Call& call, const PrefixAttention& args);
profile::KernelCall describe(const Call& call, const PrefixAttentionBackward& args);

}  // namespace monge::kernel
