// CudnnGraph: a graph of cuDNN operations on four-dimensional tensors, written down one operation at a time through the
// raw backend API, and the plan that cuDNN makes of it for a device.
//
//   CudnnGraph graph;
//   const auto x = graph.memory(1, dims, strides, CUDNN_DATA_BFLOAT16);      // uid 1: given when the plan runs
//   const auto y = graph.pointwise(CUDNN_POINTWISE_EXP, {x});                // virtual: exists inside the kernel only
//   graph.reduce(CUDNN_REDUCE_TENSOR_ADD, y, graph.memory(2, ...));
//   CudnnPlan plan(graph, device);
//   plan.run(handle, {{1, x_pointer}, {2, sum_pointer}}, workspace);
//
// A device may be one that is only described, so that a machine without a GPU can ask what cuDNN supports on it.
// All calls throw CudnnError when cuDNN refuses.
#pragma once

#include <cudnn.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/cuda/gpu.h"
#include "core/error.h"

namespace monge::MONGE_GPU {

class CudnnError : public RunError {
 public:
  CudnnError(cudnnStatus_t status, const std::string& message) : RunError(message), status_(status) {}
  cudnnStatus_t status() const { return status_; }

 private:
  cudnnStatus_t status_;
};
/// Throws CudnnError with cuDNN's own words unless `status` is success.
void check_cudnn(cudnnStatus_t status, const char* what);

/// A backend descriptor with typed attributes. Copies share it.
class CudnnDescriptor {
 public:
  CudnnDescriptor() = default;
  explicit CudnnDescriptor(cudnnBackendDescriptorType_t type);

  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count, const void* values);
  void set(cudnnBackendAttributeName_t name, std::int64_t value) { set(name, CUDNN_TYPE_INT64, 1, &value); }
  void set(cudnnBackendAttributeName_t name, bool value) { set(name, CUDNN_TYPE_BOOLEAN, 1, &value); }
  void set(cudnnBackendAttributeName_t name, cudnnDataType_t value) { set(name, CUDNN_TYPE_DATA_TYPE, 1, &value); }
  void set(cudnnBackendAttributeName_t name, cudnnHandle_t value) { set(name, CUDNN_TYPE_HANDLE, 1, &value); }
  void set(cudnnBackendAttributeName_t name, const CudnnDescriptor& value);
  void set(cudnnBackendAttributeName_t name, const std::vector<CudnnDescriptor>& values);
  /// Attributes are complete; must be called once, before use.
  void finalize();

  std::int64_t get_int64(cudnnBackendAttributeName_t name) const;
  /// The descriptors an attribute holds, each of `type`.
  std::vector<CudnnDescriptor> get(cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t type) const;
  cudnnBackendDescriptor_t raw() const { return raw_.get(); }

 private:
  std::shared_ptr<void> raw_;
};

/// What a graph is planned for: the device of a handle, or one of which only the properties are known.
class CudnnDevice {
 public:
  explicit CudnnDevice(cudnnHandle_t handle) : handle_(handle) {}
  /// From cuDNN's own serialised form (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION), with the zero byte at its end.
  explicit CudnnDevice(const std::string& json);

  /// Tells a descriptor about the device; each kind of descriptor has one attribute for either case.
  void describe(CudnnDescriptor& descriptor, cudnnBackendAttributeName_t handle_name,
                cudnnBackendAttributeName_t properties_name) const;
  cudnnHandle_t handle() const { return handle_; }
  const CudnnDescriptor& properties() const { return properties_; }

 private:
  cudnnHandle_t handle_ = nullptr;
  CudnnDescriptor properties_;
};

class CudnnGraph {
 public:
  using Dims = std::array<std::int64_t, 4>;
  struct Tensor {
    CudnnDescriptor descriptor;
    Dims dims{};
  };

  /// Memory of the caller, 16-byte aligned, known by `uid` > 0. Strides in elements.
  Tensor memory(std::int64_t uid, const Dims& dims, const Dims& strides, cudnnDataType_t type);
  /// A number that is part of the graph.
  Tensor scalar(float value);
  /// A dense tensor inside the kernel.
  Tensor internal(const Dims& dims, cudnnDataType_t type = CUDNN_DATA_FLOAT);

  /// y = mode(inputs...), in float; inputs of size 1 in a dimension repeat. CUDNN_POINTWISE_BINARY_SELECT takes
  /// {if true, if false, condition}; comparisons give booleans.
  Tensor pointwise(cudnnPointwiseMode_t mode, std::initializer_list<Tensor> inputs);
  void pointwise(cudnnPointwiseMode_t mode, std::initializer_list<Tensor> inputs, const Tensor& y);
  /// The i32 position of each element of x along an axis.
  Tensor index(const Tensor& x, std::int64_t axis);
  /// a - b of two positions, in i32.
  Tensor index_difference(const Tensor& a, const Tensor& b);
  /// Over the dimensions in which y has size 1 (or fewer groups) and x has more.
  void reduce(cudnnReduceTensorOp_t mode, const Tensor& x, const Tensor& y);
  /// c = a b over the last two dimensions, summed in float.
  void matmul(const Tensor& a, const Tensor& b, const Tensor& c);
  /// x with its last two dimensions swapped, in `type`; no data moves.
  Tensor transpose(const Tensor& x, cudnnDataType_t type);

 private:
  friend class CudnnPlan;
  Tensor make(std::int64_t uid, const Dims& dims, const Dims& strides, cudnnDataType_t type, bool internal, bool value);
  void add_pointwise(cudnnPointwiseMode_t mode, cudnnDataType_t precision, std::initializer_list<Tensor> inputs,
                     const Tensor& y, std::int64_t axis = -1);
  void add(CudnnDescriptor operation);

  std::vector<CudnnDescriptor> operations_;
  std::map<std::int64_t, float> scalars_;
  std::int64_t next_internal_ = std::int64_t{1} << 32;  // uids of the caller are below
};

/// A compiled graph.
class CudnnPlan {
 public:
  /// Takes the first engine that cuDNN proposes and can compile. Throws CudnnError when there is none, with
  /// CUDNN_STATUS_NOT_SUPPORTED when none is proposed. Takes up to seconds.
  CudnnPlan(const CudnnGraph& graph, const CudnnDevice& device);

  /// The engines that cuDNN proposes for the graph, best first; none when it does not support it.
  static std::vector<CudnnDescriptor> proposals(const CudnnGraph& graph, const CudnnDevice& device);
  /// Compiles one of them.
  static CudnnDescriptor compile(const CudnnDescriptor& proposal, const CudnnDevice& device);

  std::int64_t workspace_bytes() const { return workspace_bytes_; }
  /// Enqueues the graph on the stream of `handle`.
  void run(cudnnHandle_t handle, const std::map<std::int64_t, void*>& memory, void* workspace) const;

 private:
  CudnnDescriptor proposal_, plan_;  // cuDNN does not say that a plan keeps its engine alive
  std::map<std::int64_t, float> scalars_;
  std::int64_t workspace_bytes_ = 0;
};

}  // namespace monge::MONGE_GPU
