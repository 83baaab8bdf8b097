// Attention of one query as a scan over the tokens. A warp takes one head on a piece of a sequence, token by token, its
// lanes the columns; a first pass finds what each piece adds to the state by itself, a second puts the states before
// all pieces together.
#include <algorithm>

#include "core/cuda/cuda_backend.h"
#include "core/cuda/pack.h"
#include "core/cuda/reduce.h"
#include "core/cuda/sums.h"

namespace monge::MONGE_GPU {
namespace {

constexpr unsigned prefix_warps = 4;  // in a block

/// A HeadView as kernels read it.
template <class T>
struct Heads {
  T* data;
  std::int64_t token_stride, batch_stride;

  __device__ T* at(std::int64_t b, std::int64_t t, std::int64_t h, std::int64_t D) const {
    return data + b * batch_stride + t * token_stride + h * D;
  }
};

template <class T>
Heads<T> heads_of(const HeadView& view) {
  return {view.data.data_as<T>() + view.offset, view.token_stride, view.batch_stride};
}

/// Sizes, and how the tokens are cut: by the shapes only.
struct PrefixPlan {
  std::int64_t batch, tokens, heads, kv_heads, D;
  std::int64_t pieces, piece;  // of a sequence, tokens of one
  float scale;

  explicit PrefixPlan(const kernel::PrefixAttention& a)
      : batch(a.batch),
        tokens(a.tokens),
        heads(a.heads),
        kv_heads(a.kv_heads),
        D(a.head_dim),
        scale(static_cast<float>(a.scale)) {
    constexpr std::int64_t wanted = 132 * 32, least = 32;  // warps on a large device, tokens
    const std::int64_t rows = std::max<std::int64_t>(1, batch * heads);
    pieces = std::clamp<std::int64_t>(pieces_of(wanted, rows), 1, std::max<std::int64_t>(1, tokens / least));
    piece = pieces_of(tokens, pieces);
  }
  static std::int64_t pieces_of(std::int64_t n, std::int64_t size) {
    return monge::MONGE_GPU::pieces<std::int64_t>(n, size);
  }

  MONGE_HD std::int64_t rows() const { return batch * heads; }
  __device__ std::int64_t begin(std::int64_t p) const { return min(tokens, p * piece); }
  __device__ std::int64_t end(std::int64_t p) const { return min(tokens, (p + 1) * piece); }
};

/// The columns of this lane.
template <class F>
__device__ __forceinline__ void each_column(std::int64_t D, const F& f) {
  for (std::int64_t c = threadIdx.x % warp_width; c < D; c += warp_width) f(c);
}
template <class F>
__device__ __forceinline__ float sum_of_columns(std::int64_t D, const F& f) {
  float total = 0.0f;
  each_column(D, [&](std::int64_t c) { total += f(c); });
  return warp_sum(total);
}

// --- forward ---

template <class T>
struct PrefixArguments {
  const T* q;
  Heads<T> k, v, out;
  float *gate, *after;
  const float* before;  // (rows, pieces, D + 2), or null: no tokens before
  float* own;           // (rows, pieces, D + 2): the state of each piece alone, written by the first pass
};

/// `writes`: outputs, from the states before each piece; otherwise the states of all pieces but the last.
template <bool writes, class T>
__global__ void prefix_kernel(PrefixPlan plan, PrefixArguments<T> a) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * prefix_warps + threadIdx.x / warp_width;
  const std::int64_t row = index / plan.pieces, piece = index % plan.pieces, D = plan.D, size = D + 2;
  if (row >= plan.rows() || (!writes && piece + 1 == plan.pieces)) return;
  const bool first_lane = threadIdx.x % warp_width == 0;
  const std::int64_t b = row / plan.heads, h = row % plan.heads, g = h / (plan.heads / plan.kv_heads);
  float* const q = shared_memory<float>() + threadIdx.x / warp_width * 2 * D;
  float* const w = q + D;
  const float* const before = a.before == nullptr ? nullptr : a.before + index * size;
  float m = before == nullptr ? -INFINITY : before[0], u = before == nullptr ? 0.0f : before[1];
  each_column(D, [&](std::int64_t c) {
    q[c] = plan.scale * static_cast<float>(a.q[h * D + c]);
    w[c] = before == nullptr ? 0.0f : before[2 + c];
  });
  for (std::int64_t t = plan.begin(piece); t < plan.end(piece); ++t) {
    const T* const k = a.k.at(b, t, g, D);
    const T* const v = a.v.at(b, t, g, D);
    const float s = sum_of_columns(D, [&](std::int64_t c) { return q[c] * static_cast<float>(k[c]); });
    const float top = fmaxf(m, s), decay = expf(m - top), weight = expf(s - top);
    m = top;
    u = u * decay + weight;
    const float share = 1.0f / u;
    each_column(D, [&](std::int64_t c) {
      w[c] = w[c] * decay + weight * static_cast<float>(v[c]);
      if (writes) a.out.at(b, t, h, D)[c] = static_cast<T>(w[c] * share);
    });
    if (writes && first_lane) a.gate[row * plan.tokens + t] = weight * share;
  }
  float* const to = !writes                                          ? a.own + index * size
                    : a.after != nullptr && piece + 1 == plan.pieces ? a.after + row * size
                                                                     : nullptr;
  if (to == nullptr) return;
  if (first_lane) {
    to[0] = m;
    to[1] = u;
  }
  each_column(D, [&](std::int64_t c) { to[2 + c] = w[c]; });
}

/// states (rows, pieces, D + 2): what was before each piece, from `before` (rows, D + 2) or nothing and the states
/// `own` of the pieces alone. A block for each row, its threads over u and w.
__global__ void states_before_kernel(PrefixPlan plan, const float* before, const float* own, float* states) {
  const std::int64_t size = plan.D + 2;
  const float* const x = before == nullptr ? nullptr : before + blockIdx.x * size;
  own += blockIdx.x * plan.pieces * size;
  states += blockIdx.x * plan.pieces * size;
  for (std::int64_t i = 1 + threadIdx.x; i < size; i += blockDim.x) {
    float m = x == nullptr ? -INFINITY : x[0], value = x == nullptr ? 0.0f : x[i];
    for (std::int64_t p = 0; p < plan.pieces; ++p) {
      if (i == 1) states[p * size] = m;
      states[p * size + i] = value;
      if (p + 1 == plan.pieces) break;
      const float* const next = own + p * size;
      const float top = fmaxf(m, next[0]);
      value = value * expf(m - top) + next[i] * expf(next[0] - top);
      m = top;
    }
  }
}

// --- backward ---

// What token j hands to the one before it is r_j = (1 - g_j) B_j and the same of c_j. It is computed as B - g B: 1 - g
// would lose the digits of a small g, in the same direction at every token.

template <class T>
struct PrefixBackwardArguments {
  const T* q;
  Heads<T> k, v, out, dout, dk, dv;
  const float* gate;
  const float* reached;  // (rows, pieces, D + 2): what the tokens after each piece hand to it, or null: there are none
  float* own;            // (rows, pieces, D + 2): what each piece alone hands on: c, the product of all 1 - g, r
  float* dq;             // (B pieces, H D): what each piece adds to dq / scale
};

template <class T>
__global__ void handed_on_kernel(PrefixPlan plan, PrefixBackwardArguments<T> a) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * prefix_warps + threadIdx.x / warp_width;
  const std::int64_t row = index / plan.pieces, piece = index % plan.pieces, D = plan.D;
  if (row >= plan.rows() || piece == 0) return;
  const std::int64_t b = row / plan.heads, h = row % plan.heads;
  float* const r = shared_memory<float>() + threadIdx.x / warp_width * D;
  float c = 0.0f, decay = 1.0f;
  each_column(D, [&](std::int64_t i) { r[i] = 0.0f; });
  for (std::int64_t t = plan.end(piece) - 1; t >= plan.begin(piece); --t) {
    const T* const dout = a.dout.at(b, t, h, D);
    const T* const out = a.out.at(b, t, h, D);
    const float g = a.gate[row * plan.tokens + t];
    c += sum_of_columns(D, [&](std::int64_t i) { return static_cast<float>(dout[i]) * static_cast<float>(out[i]); });
    c -= g * c;
    decay -= g * decay;
    each_column(D, [&](std::int64_t i) {
      const float sum = r[i] + static_cast<float>(dout[i]);
      r[i] = sum - g * sum;
    });
  }
  float* const to = a.own + index * (D + 2);
  if (threadIdx.x % warp_width == 0) {
    to[0] = c;
    to[1] = decay;
  }
  each_column(D, [&](std::int64_t i) { to[2 + i] = r[i]; });
}

/// reached (rows, pieces, D + 2), from what each piece alone hands on. A block for each row, its threads over c and r.
__global__ void reached_kernel(PrefixPlan plan, const float* own, float* reached) {
  const std::int64_t size = plan.D + 2;
  own += blockIdx.x * plan.pieces * size;
  reached += blockIdx.x * plan.pieces * size;
  for (std::int64_t i = threadIdx.x; i < size; i += blockDim.x) {
    if (i == 1) continue;  // the decays
    float value = 0.0f;
    for (std::int64_t p = plan.pieces - 1; p >= 0; --p) {
      reached[p * size + i] = value;
      if (p > 0) value = own[p * size + i] + own[p * size + 1] * value;
    }
  }
}

/// A warp for the query heads of one key/value head on a piece; in shared memory for each of these r, dq and scale q (D
/// each) and c, then dk and dv of a token.
std::size_t backward_floats(const PrefixPlan& plan) {
  return static_cast<std::size_t>(plan.heads / plan.kv_heads * (3 * plan.D + 1) + 2 * plan.D);
}

template <class T>
__global__ void prefix_backward_kernel(PrefixPlan plan, PrefixBackwardArguments<T> a) {
  const std::int64_t D = plan.D, size = D + 2, group = plan.heads / plan.kv_heads;
  const std::int64_t g = blockIdx.x % plan.kv_heads, piece = blockIdx.x / plan.kv_heads % plan.pieces;
  const std::int64_t b = blockIdx.x / plan.kv_heads / plan.pieces, first_row = b * plan.heads + g * group;
  float* const r = shared_memory<float>();
  float* const dq = r + group * D;
  float* const q = dq + group * D;
  float* const c = q + group * D;
  float* const dk = c + group;
  float* const dv = dk + D;
  for (std::int64_t h = 0; h < group; ++h) {
    const float* const reached =
        a.reached == nullptr ? nullptr : a.reached + ((first_row + h) * plan.pieces + piece) * size;
    each_column(D, [&](std::int64_t i) {
      r[h * D + i] = reached == nullptr ? 0.0f : reached[2 + i];
      dq[h * D + i] = 0.0f;
      q[h * D + i] = plan.scale * static_cast<float>(a.q[(g * group + h) * D + i]);
    });
    if (threadIdx.x == 0) c[h] = reached == nullptr ? 0.0f : reached[0];
  }
  for (std::int64_t t = plan.end(piece) - 1; t >= plan.begin(piece); --t) {
    const T* const k = a.k.at(b, t, g, D);
    const T* const v = a.v.at(b, t, g, D);
    each_column(D, [&](std::int64_t i) { dk[i] = dv[i] = 0.0f; });
    for (std::int64_t h = 0; h < group; ++h) {
      const T* const dout = a.dout.at(b, t, g * group + h, D);
      const T* const out = a.out.at(b, t, g * group + h, D);
      const float gate = a.gate[(first_row + h) * plan.tokens + t];
      __syncwarp();  // c was written by one lane
      const float before = c[h];
      const float mean = before + sum_of_columns(D, [&](std::int64_t i) {
                           return static_cast<float>(dout[i]) * static_cast<float>(out[i]);
                         });
      const float product = sum_of_columns(
          D, [&](std::int64_t i) { return (r[h * D + i] + static_cast<float>(dout[i])) * static_cast<float>(v[i]); });
      const float ds = gate * (product - mean);
      if (threadIdx.x == 0) c[h] = mean - gate * mean;
      each_column(D, [&](std::int64_t i) {
        const float sum = r[h * D + i] + static_cast<float>(dout[i]);
        dv[i] += gate * sum;
        dk[i] += ds * q[h * D + i];
        dq[h * D + i] += ds * static_cast<float>(k[i]);
        r[h * D + i] = sum - gate * sum;
      });
    }
    each_column(D, [&](std::int64_t i) {
      a.dk.at(b, t, g, D)[i] = static_cast<T>(dk[i]);
      a.dv.at(b, t, g, D)[i] = static_cast<T>(dv[i]);
    });
  }
  float* const to = a.dq + ((b * plan.pieces + piece) * plan.heads + g * group) * D;
  for (std::int64_t h = 0; h < group; ++h) each_column(D, [&](std::int64_t i) { to[h * D + i] = dq[h * D + i]; });
}

dim3 warp_blocks(const PrefixPlan& plan) {
  return dim3(static_cast<unsigned>(pieces<std::int64_t>(plan.rows() * plan.pieces, prefix_warps)));
}
dim3 warp_threads() { return dim3(prefix_warps * warp_width); }

/// A block for each row.
unsigned column_threads(const PrefixPlan& plan) {
  return static_cast<unsigned>(std::min<std::int64_t>(pieces<std::int64_t>(plan.D + 2, warp_width) * warp_width, 256));
}

const float* floats_of(const Tensor& x) { return x.defined() ? x.data_as<const float>() : nullptr; }

}  // namespace

void CudaBackend::compute(const kernel::PrefixAttention& args) {
  const PrefixPlan plan(args);
  const bool cut = plan.pieces > 1;
  const Shape states{plan.rows(), plan.pieces, plan.D + 2};
  const Tensor own = cut ? scratch(states) : Tensor(), before = cut ? scratch(states) : args.before;
  visit_float(args.q.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    PrefixArguments<T> a{args.q.data_as<const T>(),
                         heads_of<T>(args.k),
                         heads_of<T>(args.v),
                         heads_of<T>(args.out),
                         args.gate.data_as<float>(),
                         args.after.defined() ? args.after.data_as<float>() : nullptr,
                         nullptr,
                         cut ? own.data_as<float>() : nullptr};
    const std::size_t bytes = prefix_warps * 2 * static_cast<std::size_t>(plan.D) * sizeof(float);
    if (cut) {
      launch(prefix_kernel<false, T>, warp_blocks(plan), warp_threads(), bytes, runtime_.stream(), plan, a);
      launch(states_before_kernel, dim3(static_cast<unsigned>(plan.rows())), dim3(column_threads(plan)), 0,
             runtime_.stream(), plan, floats_of(args.before), floats_of(own), before.data_as<float>());
    }
    a.before = floats_of(before);
    launch(prefix_kernel<true, T>, warp_blocks(plan), warp_threads(), bytes, runtime_.stream(), plan, a);
  });
}

void CudaBackend::compute(const kernel::PrefixAttentionBackward& args) {
  const PrefixPlan plan(args.forward);
  const bool cut = plan.pieces > 1;
  const Shape states{plan.rows(), plan.pieces, plan.D + 2};
  const Tensor own = cut ? scratch(states) : Tensor(), reached = cut ? scratch(states) : Tensor();
  const Tensor dq = scratch({plan.batch * plan.pieces, plan.heads * plan.D});
  visit_float(args.forward.q.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    PrefixBackwardArguments<T> a{args.forward.q.data_as<const T>(),
                                 heads_of<T>(args.forward.k),
                                 heads_of<T>(args.forward.v),
                                 heads_of<T>(args.forward.out),
                                 heads_of<T>(args.dout),
                                 heads_of<T>(args.dk),
                                 heads_of<T>(args.dv),
                                 args.forward.gate.data_as<const float>(),
                                 nullptr,
                                 cut ? own.data_as<float>() : nullptr,
                                 dq.data_as<float>()};
    if (cut) {
      const std::size_t bytes = prefix_warps * static_cast<std::size_t>(plan.D) * sizeof(float);
      launch(handed_on_kernel<T>, warp_blocks(plan), warp_threads(), bytes, runtime_.stream(), plan, a);
      launch(reached_kernel, dim3(static_cast<unsigned>(plan.rows())), dim3(column_threads(plan)), 0, runtime_.stream(),
             plan, floats_of(own), reached.data_as<float>());
      a.reached = floats_of(reached);
    }
    launch(prefix_backward_kernel<T>, dim3(static_cast<unsigned>(plan.batch * plan.kv_heads * plan.pieces)),
           dim3(warp_width), backward_floats(plan) * sizeof(float), runtime_.stream(), plan, a);
  });
  sum_over(runtime_, dq, 1, plan.batch * plan.pieces, plan.heads * plan.D, static_cast<float>(args.forward.scale),
           args.dq, args.accumulate_q);
}

}  // namespace monge::MONGE_GPU
