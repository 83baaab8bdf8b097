// The argument checks of the kernels: one function for each method of Backend, under the same name.
//
// The contract of backend.h is the same on every device, so every backend calls these first. A check reads shapes,
// dtypes, devices and addresses, never elements; it allocates nothing unless it fails. A failure is
// std::invalid_argument:
//
//   [matmul] K is 3 in a and 4 in b: a (2, 3) f32, b (4, 5) f32, out (2, 5) f32 on cpu
//
// `device` is the device of the backend that was called. The dtypes of floats follow from it: f64 on reference, f32 or
// bf16 elsewhere; statistics and optimizer state are f32 there.
#pragma once

#include "core/backend.h"

namespace monge::check {

// memory
void copy_from_host(Device device, const void* from, const Tensor& to);
void copy_to_host(Device device, const Tensor& from, const void* to);
void copy(Device device, const Tensor& from, const Tensor& to);
void fill(Device device, const Tensor& x);

// random
void uniform(Device device, const Tensor& x, const Random& random);
void normal(Device device, const Tensor& x, const Random& random);
void dropout(Device device, const Tensor& x, const Tensor& y, double p, const Random& random);

// products
void matmul(Device device, const Matmul& args);

// elementwise
void add(Device device, const Tensor& a, const Tensor& b, const Tensor& out);
void mul(Device device, const Tensor& a, const Tensor& b, const Tensor& out);
void scale(Device device, const Tensor& x, const Tensor& out);
void add_scaled(Device device, const Tensor& x, const Tensor& y);
void pointwise(Device device, Pointwise function, const Tensor& a, const Tensor& b, const Tensor& out);
void activation(Device device, const Tensor& x, const Tensor& y);
void activation_backward(Device device, const Tensor& x, const Tensor& dy, const Tensor& dx, const Tensor& y);

// shape
void swap_middle(Device device, const Tensor& x, const Tensor& y);

// reductions
void sum(Device device, const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, const Tensor& out);
void repeat(Device device, const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, const Tensor& out);
void dot(Device device, const Tensor& a, const Tensor& b, const Tensor& out);

// rows
void softmax(Device device, const Tensor& x, const Tensor& y);
void softmax_backward(Device device, const Tensor& y, const Tensor& dy, const Tensor& dx);
void norm(Device device, const Norm& args);
void norm_backward(Device device, const NormBackward& args);
void rope(Device device, const Rope& args);

// embedding and loss
void embedding(Device device, const Tensor& ids, const Tensor& table, const Tensor& out);
void embedding_backward(Device device, const Tensor& ids, const Tensor& dout, const Tensor& dtable);
void target_share(Device device, const Tensor& targets, const Tensor& share);
void sample_targets(Device device, const Tensor& logits, const Random& random, const Tensor& targets);
void cross_entropy(Device device, const CrossEntropy& args);
void cross_entropy_backward(Device device, const CrossEntropyBackward& args);

// attention
void attention(Device device, const Attention& args);
void attention_backward(Device device, const AttentionBackward& args);
void attention_metric(Device device, const AttentionMetric& args);

// update
void clip_factor(Device device, const Tensor& grads, double max_norm, const Tensor& control);
void update(Device device, const Update& args);
void directed_step(Device device, const DirectedStep& args);

}  // namespace monge::check
