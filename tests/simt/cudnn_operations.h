// What the emulated cuDNN computes: a list of operations on four-dimensional tensors, checked for what cuDNN asks of a
// graph, and done literally, one after the other, in double; each result is rounded to the type of its tensor.
//
// Where an operand is smaller than the result, it repeats: along a dimension of size 1, and the heads of keys and
// values in groups, head h of H reading head h / (H / G) of G.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "simt/libraries/cudnn.h"

namespace monge::simt {

/// A call that cuDNN refuses.
struct CudnnRefusal {
  cudnnStatus_t status;
  std::string reason;
};
[[noreturn]] inline void refuse(cudnnStatus_t status, const std::string& reason) { throw CudnnRefusal{status, reason}; }

struct CudnnTensor {
  using Dims = std::array<std::int64_t, 4>;

  std::int64_t uid = 0;
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  Dims dims{}, strides{};      // strides in elements
  std::int64_t alignment = 1;  // bytes
  bool internal = false;       // never in memory
  bool by_value = false;       // a number in host memory
  std::int64_t numel() const { return dims[0] * dims[1] * dims[2] * dims[3]; }
  std::int64_t bytes() const;  // from the first element to the end of the last one
  bool operator==(const CudnnTensor&) const = default;
};
/// Throws CudnnRefusal unless cuDNN takes the tensor; so do the others.
void check_tensor(const CudnnTensor& x);

struct CudnnOperation {
  enum class Kind { pointwise, reduction, matmul, reshape };

  Kind kind = Kind::pointwise;
  cudnnPointwiseMode_t mode = CUDNN_POINTWISE_ADD;
  cudnnReduceTensorOp_t reduction = CUDNN_REDUCE_TENSOR_ADD;
  cudnnDataType_t precision = CUDNN_DATA_FLOAT;  // of the arithmetic of a pointwise operation
  std::int64_t axis = -1;                        // of positions
  std::vector<CudnnTensor> inputs;
  CudnnTensor output;
};
void check_operation(const CudnnOperation& operation);

/// Operations that may follow each other: what is virtual is made once, before it is read, and what is given is not
/// written after it was read.
class CudnnProgram {
 public:
  explicit CudnnProgram(std::vector<CudnnOperation> operations);

  /// Tensors that are not internal, by uid.
  const std::map<std::int64_t, CudnnTensor>& given() const { return given_; }
  /// Whether it is one of the two graphs of attention, as far as its products tell.
  bool is_forward() const { return products() == 2; }
  bool is_backward() const { return products() == 5; }
  /// For the transposed tensors.
  std::int64_t workspace_bytes() const;

  /// With the `memory` of the given tensors and the `numbers` that are given by value, by uid. All of the workspace is
  /// overwritten. A wrong library leaves the last row of each matrix as it was.
  void run(const std::map<std::int64_t, void*>& memory, const std::map<std::int64_t, double>& numbers, void* workspace,
           bool without_last_row) const;

 private:
  std::int64_t products() const;

  std::vector<CudnnOperation> operations_;
  std::map<std::int64_t, CudnnTensor> given_;
};

}  // namespace monge::simt
