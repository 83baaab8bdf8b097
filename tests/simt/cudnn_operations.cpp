#include "simt/cudnn_operations.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "core/dtype.h"
#include "core/error.h"

namespace monge::simt {
namespace {

using Dims = CudnnTensor::Dims;
using Kind = CudnnOperation::Kind;
using Values = std::vector<double>;  // in the order of the dimensions

std::string text(const Dims& d) { return fmt::format("({}, {}, {}, {})", d[0], d[1], d[2], d[3]); }

void demand(bool holds, cudnnStatus_t status, const std::string& reason) {
  if (!holds) refuse(status, reason);
}
void demand_shape(bool holds, const std::string& reason) {
  demand(holds, CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH, reason);
}

bool is_float(const CudnnTensor& x) { return x.type == CUDNN_DATA_FLOAT || x.type == CUDNN_DATA_BFLOAT16; }
bool is_comparison(cudnnPointwiseMode_t mode) {
  return mode == CUDNN_POINTWISE_CMP_EQ || mode == CUDNN_POINTWISE_CMP_GE || mode == CUDNN_POINTWISE_CMP_LE;
}

std::int64_t size_of(cudnnDataType_t type) {
  return type == CUDNN_DATA_BFLOAT16 ? 2 : type == CUDNN_DATA_BOOLEAN ? 1 : 4;
}

/// Whether `small` repeats to `large`; heads may do so in groups.
bool repeats(const Dims& small, const Dims& large, bool groups) {
  for (std::size_t i = 0; i < small.size(); ++i) {
    const bool grouped = groups && i == 1 && large[i] % small[i] == 0;
    if (small[i] != large[i] && small[i] != 1 && !grouped) return false;
  }
  return true;
}

std::size_t operands_of(cudnnPointwiseMode_t mode) {
  switch (mode) {
    case CUDNN_POINTWISE_EXP:
    case CUDNN_POINTWISE_LOG:
    case CUDNN_POINTWISE_GEN_INDEX: return 1;
    case CUDNN_POINTWISE_BINARY_SELECT: return 3;
    default: return 2;
  }
}

void check_pointwise(const CudnnOperation& o) {
  const CudnnTensor& y = o.output;
  demand(o.inputs.size() == operands_of(o.mode), CUDNN_STATUS_BAD_PARAM,
         fmt::format("pointwise mode {} has {} operands, not {}", static_cast<int>(o.mode), operands_of(o.mode),
                     o.inputs.size()));
  Dims dims{1, 1, 1, 1};
  for (const CudnnTensor& x : o.inputs) {
    demand_shape(repeats(x.dims, y.dims, false),
                 fmt::format("a pointwise operand {} does not repeat to {}", text(x.dims), text(y.dims)));
    std::ranges::transform(dims, x.dims, dims.begin(), [](auto a, auto b) { return std::max(a, b); });
    demand(o.precision != CUDNN_DATA_INT32 || x.type == CUDNN_DATA_INT32 || o.mode == CUDNN_POINTWISE_GEN_INDEX,
           CUDNN_STATUS_BAD_PARAM, "integer arithmetic on something else");
  }
  demand_shape(dims == y.dims, fmt::format("a pointwise result {} is larger than its operands", text(y.dims)));

  const cudnnDataType_t type = is_comparison(o.mode)             ? CUDNN_DATA_BOOLEAN
                               : o.precision == CUDNN_DATA_INT32 ? CUDNN_DATA_INT32
                               : y.type == CUDNN_DATA_BFLOAT16   ? CUDNN_DATA_BFLOAT16
                                                                 : CUDNN_DATA_FLOAT;
  demand(y.type == type, CUDNN_STATUS_BAD_PARAM, "the type of a pointwise result is not that of its arithmetic");
  if (o.mode == CUDNN_POINTWISE_GEN_INDEX) {
    demand(o.axis >= 0 && o.axis < 4 && o.precision == CUDNN_DATA_INT32, CUDNN_STATUS_BAD_PARAM,
           "positions need an axis, and integers");
  }
  if (o.mode == CUDNN_POINTWISE_BINARY_SELECT) {
    demand(o.inputs[2].type == CUDNN_DATA_BOOLEAN, CUDNN_STATUS_BAD_PARAM, "a condition is not boolean");
  }
}

void check_matmul(const CudnnOperation& o) {
  const Dims &a = o.inputs[0].dims, &b = o.inputs[1].dims, &c = o.output.dims;
  demand_shape(a[2] == c[2] && a[3] == b[2] && b[3] == c[3],
               fmt::format("a product of {} and {} is not {}", text(a), text(b), text(c)));
  for (const Dims* x : {&a, &b}) {
    demand_shape(repeats({(*x)[0], (*x)[1], 1, 1}, {c[0], c[1], 1, 1}, true),
                 fmt::format("the matrices of {} do not repeat to those of {}", text(*x), text(c)));
  }
  demand(is_float(o.inputs[0]) && is_float(o.inputs[1]) && is_float(o.output), CUDNN_STATUS_BAD_PARAM,
         "a product of something else than numbers");
}

/// For each axis of y the axis of x that it is; refuses what no order of axes gives.
std::array<std::size_t, 4> order_of_axes(const CudnnTensor& x, const CudnnTensor& y) {
  std::array<std::size_t, 4> order{};
  std::set<std::size_t> left{0, 1, 2, 3};
  for (std::size_t i = 0; i < 4; ++i) {
    const auto found = std::ranges::find_if(
        left, [&](std::size_t j) { return x.dims[j] == y.dims[i] && x.strides[j] == y.strides[i]; });
    demand_shape(found != left.end(), "a reshape that is no order of axes");
    order[i] = *found;
    left.erase(found);
  }
  return order;
}

double rounded(double x, cudnnDataType_t type) {
  switch (type) {
    case CUDNN_DATA_FLOAT: return static_cast<float>(x);
    case CUDNN_DATA_BFLOAT16: return static_cast<float>(bf16(static_cast<float>(x)));
    case CUDNN_DATA_INT32: return std::trunc(x);
    case CUDNN_DATA_BOOLEAN: return x != 0.0 ? 1.0 : 0.0;
  }
  return x;
}

/// Calls f(place) for the first element of each row (last dimension), in order.
template <class F>
void each_row(const Dims& dims, F f) {
  for (std::int64_t i = 0; i < dims[0]; ++i) {
    for (std::int64_t j = 0; j < dims[1]; ++j) {
      for (std::int64_t k = 0; k < dims[2]; ++k) f(Dims{i, j, k, 0});
    }
  }
}

/// Index of the element of a tensor of `dims` that a place of a tensor of `large` falls on.
std::int64_t index_at(const Dims& dims, const Dims& large, const Dims& place) {
  std::int64_t index = 0;
  for (std::size_t i = 0; i < 4; ++i) index = index * dims[i] + place[i] / (large[i] / dims[i]);
  return index;
}

double apply(cudnnPointwiseMode_t mode, double x, double b, double condition) {
  switch (mode) {
    case CUDNN_POINTWISE_ADD: return x + b;
    case CUDNN_POINTWISE_SUB: return x - b;
    case CUDNN_POINTWISE_MUL: return x * b;
    case CUDNN_POINTWISE_DIV: return x / b;
    case CUDNN_POINTWISE_EXP: return std::exp(x);
    case CUDNN_POINTWISE_LOG: return std::log(x);
    case CUDNN_POINTWISE_CMP_EQ: return x == b;
    case CUDNN_POINTWISE_CMP_GE: return x >= b;
    case CUDNN_POINTWISE_CMP_LE: return x <= b;
    case CUDNN_POINTWISE_BINARY_SELECT: return condition != 0.0 ? x : b;
    case CUDNN_POINTWISE_GEN_INDEX: break;
  }
  return x;
}

void compute_pointwise(const CudnnOperation& o, const std::vector<const Values*>& inputs, Values& y) {
  const Dims& dims = o.output.dims;
  auto out = y.begin();
  each_row(dims, [&](Dims place) {
    std::array<const double*, 3> x{};
    std::array<std::int64_t, 3> step{};
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      x[i] = inputs[i]->data() + index_at(o.inputs[i].dims, dims, place);
      step[i] = o.inputs[i].dims[3] == 1 ? 0 : 1;
    }
    const auto value = [&](std::size_t i, std::int64_t j) { return x[i] == nullptr ? 0.0 : x[i][j * step[i]]; };
    for (place[3] = 0; place[3] < dims[3]; ++place[3]) {
      *out++ = o.mode == CUDNN_POINTWISE_GEN_INDEX
                   ? static_cast<double>(place[static_cast<std::size_t>(o.axis)])
                   : apply(o.mode, value(0, place[3]), value(1, place[3]), value(2, place[3]));
    }
  });
}

void compute_reduction(const CudnnOperation& o, const Values& x, Values& y) {
  const bool sums = o.reduction == CUDNN_REDUCE_TENSOR_ADD;
  std::ranges::fill(y, sums ? 0.0 : -std::numeric_limits<double>::infinity());
  const Dims &dims = o.inputs[0].dims, &small = o.output.dims;
  auto in = x.begin();
  each_row(dims, [&](Dims place) {
    double* out = y.data() + index_at(small, dims, place);
    for (std::int64_t j = 0; j < dims[3]; ++j, out += small[3] == 1 ? 0 : 1) {
      *out = sums ? *out + *in : std::max(*out, *in);
      ++in;
    }
  });
}

void compute_matmul(const CudnnOperation& o, const Values& a, const Values& b, Values& c) {
  const Dims& dims = o.output.dims;
  const std::int64_t rows = dims[2], columns = dims[3], inner = o.inputs[0].dims[3];
  std::ranges::fill(c, 0.0);
  double* out = c.data();
  // The matrix of an operand that belongs to matrix (i, h) of the result.
  const auto matrix = [&](const Values& x, const Dims& d, std::int64_t i, std::int64_t h) {
    return x.data() + index_at({d[0], d[1], 1, 1}, {dims[0], dims[1], 1, 1}, {i, h, 0, 0}) * d[2] * d[3];
  };
  for (std::int64_t i = 0; i < dims[0]; ++i) {
    for (std::int64_t h = 0; h < dims[1]; ++h) {
      const double* left = matrix(a, o.inputs[0].dims, i, h);
      const double* const right = matrix(b, o.inputs[1].dims, i, h);
      for (std::int64_t row = 0; row < rows; ++row, out += columns) {
        for (std::int64_t k = 0; k < inner; ++k, ++left) {
          for (std::int64_t column = 0; column < columns; ++column) out[column] += *left * right[k * columns + column];
        }
      }
    }
  }
}

void compute_reshape(const CudnnOperation& o, const Values& x, Values& y) {
  const auto order = order_of_axes(o.inputs[0], o.output);
  auto out = y.begin();
  each_row(o.output.dims, [&](Dims place) {
    for (place[3] = 0; place[3] < o.output.dims[3]; ++place[3]) {
      Dims from{};
      for (std::size_t i = 0; i < 4; ++i) from[order[i]] = place[i];
      *out++ = x[static_cast<std::size_t>(index_at(o.inputs[0].dims, o.inputs[0].dims, from))];
    }
  });
}

Values compute(const CudnnOperation& o, const std::vector<const Values*>& inputs) {
  Values y(static_cast<std::size_t>(o.output.numel()));
  switch (o.kind) {
    case Kind::pointwise: compute_pointwise(o, inputs, y); break;
    case Kind::reduction: compute_reduction(o, *inputs[0], y); break;
    case Kind::matmul: compute_matmul(o, *inputs[0], *inputs[1], y); break;
    case Kind::reshape: compute_reshape(o, *inputs[0], y); break;
  }
  for (double& value : y) value = rounded(value, o.output.type);
  return y;
}

/// Calls f(element, index) for the elements of a tensor in memory.
template <class F>
void each_element(const CudnnTensor& x, F f) {
  std::int64_t index = 0;
  each_row(x.dims, [&](const Dims& p) {
    const std::int64_t row = p[0] * x.strides[0] + p[1] * x.strides[1] + p[2] * x.strides[2];
    for (std::int64_t j = 0; j < x.dims[3]; ++j) f(row + j * x.strides[3], index++);
  });
}

Values load(const CudnnTensor& x, const void* memory) {
  Values values(static_cast<std::size_t>(x.numel()));
  each_element(x, [&](std::int64_t at, std::int64_t i) {
    values[i] = x.type == CUDNN_DATA_BFLOAT16 ? static_cast<float>(static_cast<const bf16*>(memory)[at])
                                              : static_cast<const float*>(memory)[at];
  });
  return values;
}

void store(const CudnnTensor& x, const Values& values, void* memory, bool without_last_row) {
  each_element(x, [&](std::int64_t at, std::int64_t i) {
    const bool last_row = i / x.dims[3] % x.dims[2] == x.dims[2] - 1;
    if (without_last_row && last_row) return;
    const auto value = static_cast<float>(values[i]);
    if (x.type == CUDNN_DATA_BFLOAT16) {
      static_cast<bf16*>(memory)[at] = bf16(value);
    } else {
      static_cast<float*>(memory)[at] = value;
    }
  });
}

}  // namespace

std::int64_t CudnnTensor::bytes() const {
  std::int64_t last = 0;
  for (std::size_t i = 0; i < 4; ++i) last += (dims[i] - 1) * strides[i];
  return (last + 1) * size_of(type);
}

void check_tensor(const CudnnTensor& x) {
  for (std::size_t i = 0; i < 4; ++i) {
    demand(x.dims[i] > 0 && x.strides[i] > 0, CUDNN_STATUS_BAD_PARAM,
           fmt::format("tensor {} has dimensions {} and strides {}", x.uid, text(x.dims), text(x.strides)));
  }
  demand(x.alignment > 0 && (x.alignment & (x.alignment - 1)) == 0, CUDNN_STATUS_BAD_PARAM,
         fmt::format("tensor {} has an alignment of {} bytes", x.uid, x.alignment));
  demand(!(x.internal && x.by_value), CUDNN_STATUS_BAD_PARAM,
         fmt::format("tensor {} is virtual and given by value", x.uid));
  if (x.by_value) {
    demand(x.numel() == 1 && x.type == CUDNN_DATA_FLOAT, CUDNN_STATUS_BAD_PARAM,
           fmt::format("tensor {} is given by value and is not one float", x.uid));
  }
  demand(x.internal || is_float(x), CUDNN_STATUS_NOT_SUPPORTED, fmt::format("tensor {}: only floats in memory", x.uid));
}

void check_operation(const CudnnOperation& o) {
  switch (o.kind) {
    case Kind::pointwise: check_pointwise(o); break;
    case Kind::matmul: check_matmul(o); break;
    case Kind::reshape: order_of_axes(o.inputs[0], o.output); break;
    case Kind::reduction:
      demand_shape(repeats(o.output.dims, o.inputs[0].dims, true),
                   fmt::format("{} does not reduce to {}", text(o.inputs[0].dims), text(o.output.dims)));
  }
}

CudnnProgram::CudnnProgram(std::vector<CudnnOperation> operations) : operations_(std::move(operations)) {
  std::map<std::int64_t, CudnnTensor> tensors;
  std::set<std::int64_t> written, read;
  const auto meet = [&](const CudnnTensor& x) {
    const auto [known, first] = tensors.emplace(x.uid, x);
    demand(first || known->second == x, CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES,
           fmt::format("two tensors have the uid {}", x.uid));
    if (!x.internal) given_.emplace(x.uid, x);
  };
  for (const CudnnOperation& o : operations_) {
    for (const CudnnTensor& x : o.inputs) {
      meet(x);
      read.insert(x.uid);
      demand(!x.internal || written.contains(x.uid), CUDNN_STATUS_BAD_PARAM,
             fmt::format("virtual tensor {} is read before it is made", x.uid));
    }
    meet(o.output);
    const std::int64_t uid = o.output.uid;
    demand(!o.output.by_value, CUDNN_STATUS_BAD_PARAM, fmt::format("tensor {} is given by value and written", uid));
    demand(!read.contains(uid), CUDNN_STATUS_BAD_PARAM, fmt::format("tensor {} is written after it was read", uid));
    demand(written.insert(uid).second, CUDNN_STATUS_BAD_PARAM, fmt::format("tensor {} is written twice", uid));
  }
}

std::int64_t CudnnProgram::products() const {
  return std::ranges::count(operations_, Kind::matmul, &CudnnOperation::kind);
}

std::int64_t CudnnProgram::workspace_bytes() const {
  std::int64_t bytes = 0;
  for (const CudnnOperation& o : operations_) {
    if (o.kind == Kind::reshape) bytes += o.output.numel() * size_of(o.output.type);
  }
  return bytes;
}

void CudnnProgram::run(const std::map<std::int64_t, void*>& memory, const std::map<std::int64_t, double>& numbers,
                       void* workspace, bool without_last_row) const {
  const auto bytes = static_cast<std::size_t>(workspace_bytes());
  if (bytes > 0) std::memset(workspace, 0xFF, bytes);
  std::map<std::int64_t, Values> values;
  for (const auto& [uid, number] : numbers) values[uid] = {number};
  for (const CudnnOperation& o : operations_) {
    std::vector<const Values*> inputs;
    for (const CudnnTensor& x : o.inputs) {
      if (!values.contains(x.uid)) values[x.uid] = load(x, memory.at(x.uid));
      inputs.push_back(&values[x.uid]);
    }
    values[o.output.uid] = compute(o, inputs);
  }
  for (const CudnnOperation& o : operations_) {
    const CudnnTensor& y = o.output;
    if (!y.internal) store(y, values[y.uid], memory.at(y.uid), without_last_row);
  }
  if (bytes > 0) std::memset(workspace, 0xFF, bytes);
}

}  // namespace monge::simt
