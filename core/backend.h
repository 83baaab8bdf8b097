// Backend: the contract of a device.
//
// A kernel reads and writes tensors of its own device, which the caller has allocated; it never allocates a result,
// never takes a host pointer and never waits for the device. Values that change from step to step (learning rate,
// step number, clip factor) are device scalars, so that a whole step can be recorded and replayed.
//
// Shapes use the letters of the field: B batch, T tokens, C width, H heads, G key/value heads, D head width, V
// vocabulary. R and N stand for any row and column count: a kernel that works on rows reads its tensors as
// (shape.rows(), last()). "float" tensors are f32 or bf16 (cpu, cuda) or f64 (reference); all float arguments of one
// call share their dtype unless the text says otherwise. Arithmetic and sums are in f32 or better, but what attention
// multiplies (weights, gradients of scores) may be rounded to the dtype of its tensors. Outputs may not overlap inputs
// unless the text says "in place".
//
// Every kernel checks its arguments and throws std::invalid_argument with its name, the shapes, the dtypes and the
// device. Kernels of one backend may be called from one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/device.h"
#include "core/dtype.h"
#include "core/memory.h"
#include "core/random.h"
#include "core/row_map/row_map.h"
#include "core/tensor.h"
#include "core/update_rule/update_rule.h"

namespace monge {

/// Pointwise functions. gelu is x * Phi(x) with the exact normal distribution function, gelu_tanh its approximation
/// (Hendrycks & Gimpel 2016, arXiv:1606.08415); silu is x * sigmoid(x).
enum class Activation : std::uint8_t { none, gelu, gelu_tanh, silu };
std::string_view name_of(Activation activation);

/// Elementwise arithmetic that optimizers are made of; see Backend::pointwise.
enum class Pointwise : std::uint8_t { divide, minimum, maximum, root, sign, positive };
inline constexpr bool takes_two(Pointwise function) { return function <= Pointwise::maximum; }

/// out = [out +] activation(op(a) op(b) + bias).
/// Two dimensions, or three with a shared leading batch.
struct Matmul {
  Tensor a;  // ([N,] M, K), or ([N,] K, M) when transpose_a
  bool transpose_a = false;
  Tensor b;  // ([N,] K, N), or ([N,] N, K) when transpose_b
  bool transpose_b = false;
  Tensor out;               // ([N,] M, N); may be f32 when a and b are bf16
  bool accumulate = false;  // add to `out`; not together with bias or activation
  Tensor bias;              // (N) or none
  Activation activation = Activation::none;
  Tensor pre_activation;  // shape of out, or none: receives the value before the activation
};

enum class NormKind : std::uint8_t { layer, rms };

/// y = (x - mean) * rstd * gain + bias over the last dimension; rms: mean = 0, rstd = 1 / sqrt(mean(x^2) + eps).
/// With `residual`, x + residual is normalised and written to `sum`.
struct Norm {
  NormKind kind = NormKind::layer;
  double eps = 1e-5;
  Tensor x;         // (R, C)
  Tensor residual;  // (R, C) or none
  Tensor gain;      // (C) or none
  Tensor bias;      // (C) or none
  Tensor sum;       // (R, C), with residual only
  Tensor y;         // (R, C)
  Tensor mean;      // (R) f32 (reference: f64); none for rms
  Tensor rstd;      // (R) f32 (reference: f64)
};

struct NormBackward {
  NormKind kind = NormKind::layer;
  Tensor x;      // (R, C): what was normalised (x, or sum)
  Tensor gain;   // (C) or none
  Tensor mean;   // (R) or none
  Tensor rstd;   // (R)
  Tensor dy;     // (R, C)
  Tensor dsum;   // (R, C) or none: gradient that reaches `sum` directly; added to dx
  Tensor dx;     // (R, C), overwritten; may be dsum (in place)
  Tensor dgain;  // (C) or none; may be f32 when x is bf16
  Tensor dbias;  // (C) or none; like dgain
  bool accumulate_gain = false;
  bool accumulate_bias = false;
};

/// A tensor read as heads: head h of token t of sequence b is the D elements from
/// offset + b * batch_stride + t * token_stride + h * D. Lets attention read a packed (B, T, (H + 2 G) D) projection.
struct HeadView {
  Tensor data;
  std::int64_t offset = 0;
  std::int64_t token_stride = 0;
  std::int64_t batch_stride = 0;
};

/// Terms added to the scores: the logarithm of the prior under which a row is transported (for softmax; a bias for
/// maps without normalisation). With i, j the positions of query and key:
///   prior_ij = head_h + distance_h[|i - j|] + key_h[j] - slope_h (i - j).
/// All f32 (reference: f64), each may be none.
struct LogPrior {
  Tensor head;      // (H)
  Tensor distance;  // (H, N), N > every distance
  Tensor key;       // (H, N), N >= keys
  Tensor slopes;    // (H): ALiBi; not trained
};

/// out_i = sum_j a_ij v_j with a_i = map(scale <q_i, k_j> + prior_ij), for each sequence and head.
/// Query i stands at position `start + i`; under `causal` it sees the keys 0 .. start + i.
/// Query head h reads key/value head h / (H / G).
struct Attention {
  std::int64_t batch = 0, queries = 0, keys = 0, heads = 0, kv_heads = 0, head_dim = 0;
  std::int64_t start = 0;
  bool causal = true;
  double scale = 1.0;
  RowMap map;
  LogPrior prior;
  double dropout = 0.0;  // probability of dropping a weight; element ((b H + h) T + i) S + j of the stream `random`
  Random random;
  HeadView q, k, v;
  HeadView out;
  Tensor row_stat;  // (B, H, T) f32/f64: what the map keeps of each row for backward (softmax: log-sum-exp)
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

/// Rotates the pairs (x[i], x[i + D/2]) of the first `heads` heads of each token by angle position * base^(-2i/D)
/// (Su et al. 2021, arXiv:2104.09864, in the half-split layout); the rest of the row is copied. `inverse` rotates back.
struct Rope {
  Tensor x;  // (B, T, W), W >= heads * head_dim
  Tensor y;  // (B, T, W); may be x (in place)
  std::int64_t heads = 0, head_dim = 0;
  std::int64_t start = 0;  // position of the first token
  double base = 10000.0;
  bool inverse = false;
};

/// Mean cross-entropy over rows, in nats. Rows with target -1 are left out of the mean and get a zero gradient.
struct CrossEntropy {
  Tensor logits;   // (N, V)
  Tensor targets;  // (N) i32
  Tensor losses;   // (N) f32/f64: -log softmax(logits)[target], 0 where left out
  Tensor lse;      // (N) f32/f64: log-sum-exp of the row
  Tensor summary;  // (2) f32/f64: share times the sum of the losses, share (both 0 when no row counts)
  Tensor share;  // (1) f32/f64: what a row counts for, where these rows are part of more (target_share); none: 1 / rows
                 // counted
};

struct CrossEntropyBackward {
  Tensor logits;   // (N, V): overwritten with the gradient (in place)
  Tensor targets;  // (N) i32
  Tensor lse;      // (N)
  Tensor summary;  // (2)
  Tensor dloss;    // (1) f32/f64: gradient of the mean loss
};

/// Slots of the f32 (reference: f64) device tensor that steers an update. `lr` and `step` are written by the host
/// before the step; `clip` and `finite` by `clip_factor`.
struct Control {
  enum Slot : std::int64_t { lr, step, clip, finite, grad_norm, size };
};

/// One step of an elementwise rule (core/update_rule) on a contiguous range of the flat parameter buffer, with
/// gradients times control[clip]. When control[finite] is 0 nothing changes. All f32 (reference: f64) but `copy`.
struct Update {
  UpdateRule rule;
  Tensor param, grad;                            // (n)
  std::array<Tensor, max_update_states> states;  // (n) each, in the order of states_of(rule); the rest none
  Tensor copy;                                   // (n) bf16 or none: receives the new parameters
  Tensor control;                                // (Control::size)
  double lr_scale = 1.0, weight_decay = 0.0;
};

/// Replaces the update that a rule has made of some matrices by steps along given directions v:
///   ref = param - (1 - lr lr_scale weight_decay) before        what the rule did, its decay apart
///   f   = graft |ref| / |v| with graft > 0, else lr lr_scale   for each matrix
///   f   = f min(1, sqrt(kl / sum f^2 <v, gradient>))           with kl > 0; the sum is over the matrices
///   param = (1 - lr lr_scale weight_decay) before - f v
/// A matrix whose v is 0 only decays. When control[finite] is 0 nothing changes. All f32 (reference: f64) but `copy`.
struct DirectedStep {
  struct Matrix {
    Tensor param, before, direction, gradient;  // (n)
    Tensor copy;                                // (n) bf16 or none: receives the new parameters
    double lr_scale = 1.0, weight_decay = 0.0;
  };
  std::vector<Matrix> matrices;
  double graft = 0.0, kl = 0.0;
  Tensor control;  // (Control::size)
};

/// Choices of a GPU backend that change its speed and the last bits of results.
struct GpuSettings {
  enum class AttentionPath : std::uint8_t { fastest, cudnn, fused, unfused };
  AttentionPath attention = AttentionPath::fastest;  // what a call is tried on first; what refuses it is passed over
  bool tf32 = false;                                 // f32 products on tensor cores, with 10-bit mantissas
  bool tune = false;                                 // time algorithms of products at their first use
  std::string tuning_file;                           // where these choices are kept; empty: nowhere

  bool operator==(const GpuSettings&) const = default;
};

/// Kernel calls that a backend has kept, to be made again on the same memory.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void replay() = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  virtual Device device() const = 0;
  /// One line for people: processor, instruction set, threads, libraries.
  virtual std::string description() const = 0;
  /// The float storage a computation of this device uses by default: f32, or f64 on reference.
  virtual DType default_float() const { return DType::f32; }
  virtual MemoryPools& memory() = 0;
  /// The best rate of a square matrix product, in FLOP per second: measured by the first call, and again when the
  /// device describes itself otherwise (another number of threads).
  double matmul_peak(DType dtype);
  /// Takes effect for the calls that follow. Nothing where there is no GPU.
  virtual void configure(const GpuSettings&) {}
  /// What a user should know of the choices made so far, a sentence each: which way attention takes, and why.
  virtual std::vector<std::string> notes() const { return {}; }
  /// Runs `calls`, kernel calls without transfers from or to the host, and keeps them where the device can; null where
  /// it cannot. They must have run before, so that memory is there and choices are made. What they allocated is kept
  /// for the recording alone.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& calls) {
    calls();
    return nullptr;
  }

  // --- memory ---
  /// Host to device; `bytes` = to.bytes(). The host memory may be reused when the call returns.
  virtual void copy_from_host(const void* from, const Tensor& to) = 0;
  /// Device to host; waits for the device.
  virtual void copy_to_host(const Tensor& from, void* to) = 0;
  /// Elementwise copy between equal numel; converts between float dtypes.
  virtual void copy(const Tensor& from, const Tensor& to) = 0;
  virtual void fill(const Tensor& x, double value) = 0;
  virtual void synchronize() = 0;

  // --- random ---
  virtual void uniform(const Tensor& x, double low, double high, const Random& random) = 0;
  virtual void normal(const Tensor& x, double mean, double stddev, const Random& random) = 0;
  /// y = x * mask / (1 - p), mask_i = 1[to_unit(word_i) >= p]. Its own backward: the same call on the gradient. y may
  /// be x.
  virtual void dropout(const Tensor& x, const Tensor& y, double p, const Random& random) = 0;

  // --- products ---
  virtual void matmul(const Matmul& args) = 0;

  // --- elementwise; `b` has the shape of `a`, a suffix of it (repeated), or one element; out may be a ---
  virtual void add(const Tensor& a, const Tensor& b, const Tensor& out) = 0;
  virtual void mul(const Tensor& a, const Tensor& b, const Tensor& out) = 0;
  /// out = factor * x; out may be x.
  virtual void scale(const Tensor& x, double factor, const Tensor& out) = 0;
  /// y = y + factor * x; y may be f32 when x is bf16.
  virtual void add_scaled(const Tensor& x, double factor, const Tensor& y) = 0;
  /// out = a / b (0 where b is 0), min(a, b), max(a, b), sqrt(a), the sign of a (1, 0 or -1), or 1 where a > 0 and else
  /// 0. b is none for functions of one number. All f32 (reference: f64).
  virtual void pointwise(Pointwise function, const Tensor& a, const Tensor& b, const Tensor& out) = 0;
  /// y may be x.
  virtual void activation(Activation kind, const Tensor& x, const Tensor& y) = 0;
  /// dx = activation'(x) * dy; dx may be dy. y, unless none, receives activation(x) again and may be x.
  virtual void activation_backward(Activation kind, const Tensor& x, const Tensor& dy, const Tensor& dx,
                                   const Tensor& y = {}) = 0;

  // --- shape ---
  /// x (P, Q, R, S) -> y (P, R, Q, S).
  virtual void swap_middle(const Tensor& x, const Tensor& y) = 0;

  // --- reductions: x is read as (outer, n, inner) with outer * inner = out.numel() ---
  /// out = [out +] factor * sum over n; out may be f32 when x is bf16.
  virtual void sum(const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, double factor,
                   const Tensor& out, bool accumulate) = 0;
  /// out (1) = <a, b> over equal numel; all f32 (reference: f64).
  virtual void dot(const Tensor& a, const Tensor& b, const Tensor& out) = 0;
  /// out (outer, n, inner) = factor * x (outer, inner), repeated over n: the backward of sum.
  virtual void repeat(const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, double factor,
                      const Tensor& out) = 0;

  // --- rows ---
  virtual void softmax(const Tensor& x, const Tensor& y) = 0;
  /// dx = y * (dy - sum(y dy)).
  virtual void softmax_backward(const Tensor& y, const Tensor& dy, const Tensor& dx) = 0;
  virtual void norm(const Norm& args) = 0;
  virtual void norm_backward(const NormBackward& args) = 0;
  virtual void rope(const Rope& args) = 0;

  // --- embedding and loss ---
  /// out (N, C) = table (V, C)[ids (N)]. Ids outside [0, V) are the caller's error and give zero rows.
  virtual void embedding(const Tensor& ids, const Tensor& table, const Tensor& out) = 0;
  /// dtable (V, C) = [dtable +] scatter-add of dout (N, C); dtable may be f32 when dout is bf16. Deterministic.
  virtual void embedding_backward(const Tensor& ids, const Tensor& dout, const Tensor& dtable, bool accumulate) = 0;
  /// share (1) f32/f64 = 1 / the number of targets in [0, vocab); 0 when there is none.
  virtual void target_share(const Tensor& targets, std::int64_t vocab, const Tensor& share) = 0;
  /// Every target (N) i32 in [0, V) becomes a class drawn from softmax of its row of logits (N, V): the first at which
  /// the summed probabilities exceed element i of uniform(0, 1) for row i. Other targets stay.
  virtual void sample_targets(const Tensor& logits, const Random& random, const Tensor& targets) = 0;
  virtual void cross_entropy(const CrossEntropy& args) = 0;
  virtual void cross_entropy_backward(const CrossEntropyBackward& args) = 0;

  // --- attention ---
  virtual void attention(const Attention& args) = 0;
  virtual void attention_backward(const AttentionBackward& args) = 0;
  virtual void attention_metric(const AttentionMetric& args) = 0;

  // --- update ---
  /// control[grad_norm] = |grads|; control[clip] = min(1, max_norm / norm) (1 when max_norm = 0);
  /// control[finite] = whether the norm is finite.
  virtual void clip_factor(const Tensor& grads, double max_norm, const Tensor& control) = 0;
  virtual void update(const Update& args) = 0;
  virtual void directed_step(const DirectedStep& args) = 0;

 private:
  std::map<std::pair<std::string, DType>, double> matmul_peaks_;
};

using BackendFactory = std::function<std::unique_ptr<Backend>(int index)>;
/// From now on GPUs that have not been used yet get their backends from `make`: an emulated device, in tests.
void make_cuda_backends_with(BackendFactory make);

}  // namespace monge
