// The kernels of the cpu backend: one free function for each method of Backend that computes. Their meaning, shapes and
// errors are those of core/backend.h.
#pragma once

#include <cstdint>
#include <string>

#include "core/backend.h"

namespace monge::cpu {

/// The device that the kernels check their arguments against.
inline constexpr Device here{DeviceKind::cpu, 0};

/// The instruction set that the SIMD kernels run on: "AVX-512", "AVX2", ...
std::string simd_target();

// --- kernels_memory.cpp ---
void copy(const Tensor& from, const Tensor& to);
void fill(const Tensor& x, double value);

// --- kernels_random.cpp ---
void uniform(const Tensor& x, double low, double high, const Random& random);
void normal(const Tensor& x, double mean, double stddev, const Random& random);
void dropout(const Tensor& x, const Tensor& y, double p, const Random& random);

// --- matmul.cpp ---
void matmul(const Matmul& args);
/// Whether there has been a bf16 product that this processor could only do in f32.
bool has_widened_products();

// --- kernels_elementwise.cpp ---
void add(const Tensor& a, const Tensor& b, const Tensor& out);
void mul(const Tensor& a, const Tensor& b, const Tensor& out);
void scale(const Tensor& x, double factor, const Tensor& out);
void add_scaled(const Tensor& x, double factor, const Tensor& y);
void pointwise(Pointwise function, const Tensor& a, const Tensor& b, const Tensor& out);
void activation(Activation kind, const Tensor& x, const Tensor& y);
void activation_backward(Activation kind, const Tensor& x, const Tensor& dy, const Tensor& dx, const Tensor& y);

// --- kernels_reduce.cpp ---
void swap_middle(const Tensor& x, const Tensor& y);
void sum(const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, double factor, const Tensor& out,
         bool accumulate);
void repeat(const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, double factor, const Tensor& out);
void dot(const Tensor& a, const Tensor& b, const Tensor& out);

// --- kernels_rows.cpp ---
void softmax(const Tensor& x, const Tensor& y);
void softmax_backward(const Tensor& y, const Tensor& dy, const Tensor& dx);
void norm(const Norm& args);
void norm_backward(const NormBackward& args);

// --- kernels_rope.cpp ---
void rope(const Rope& args);

// --- kernels_loss.cpp ---
void embedding(const Tensor& ids, const Tensor& table, const Tensor& out);
void embedding_backward(const Tensor& ids, const Tensor& dout, const Tensor& dtable, bool accumulate);
void target_share(const Tensor& targets, std::int64_t vocab, const Tensor& share);
void sample_targets(const Tensor& logits, const Random& random, const Tensor& targets);
void cross_entropy(const CrossEntropy& args);
void cross_entropy_backward(const CrossEntropyBackward& args);

// --- attention.cpp, attention_backward.cpp, attention_metric.cpp ---
void attention(const Attention& args);
void attention_backward(const AttentionBackward& args);
void attention_metric(const AttentionMetric& args);

// --- kernels_update.cpp ---
void clip_factor(const Tensor& grads, double max_norm, const Tensor& control);
void update(const Update& args);
void directed_step(const DirectedStep& args);

}  // namespace monge::cpu
