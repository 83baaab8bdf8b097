// cuBLASLt on the emulated device: plain loops, sums in double. There are three algorithms, which cut the sums into
// one, two and three pieces, so that a product done by another one has other last bits.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "simt/device_memory.h"
#include "simt/libraries/cublasLt.h"

namespace monge::simt {

struct cublasLtContext {
  int device = 0;
};

struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType_t type = CUDA_R_32F;
  std::int64_t rows = 0, columns = 0, ld = 0, stride = 0;
  std::int32_t batch = 1;
};

struct cublasLtMatmulDescOpaque_t {
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cublasOperation_t op_A = CUBLAS_OP_N, op_B = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  void* aux = nullptr;
  std::int64_t aux_ld = 0, aux_stride = 0;
  std::int32_t bias_type = -1, aux_type = -1;
};

struct cublasLtMatmulPreferenceOpaque_t {
  std::uint64_t workspace_bytes = 0;
  std::uint32_t reductions = ~0u;
  std::uint32_t alignment_A = 256, alignment_B = 256, alignment_C = 256, alignment_D = 256;
};

namespace {

using Layout = cublasLtMatrixLayoutOpaque_t;
using Description = cublasLtMatmulDescOpaque_t;

constexpr int algorithm_count = 3;

std::string problem;  // of the last call that went wrong

cublasStatus_t refuse(cublasStatus_t status, std::string why) {
  problem = std::move(why);
  return status;
}
cublasStatus_t invalid(std::string why) { return refuse(CUBLAS_STATUS_INVALID_VALUE, std::move(why)); }

template <class T>
cublasStatus_t set(T& attribute, const void* value, std::size_t bytes) {
  if (bytes != sizeof(T)) return invalid(fmt::format("an attribute of {} bytes, not {}", sizeof(T), bytes));
  std::memcpy(&attribute, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

bool has(const Description& d, cublasLtEpilogue_t part) { return (d.epilogue & part) == part; }
bool has_bias(const Description& d) { return has(d, CUBLASLT_EPILOGUE_BIAS); }
bool has_gelu(const Description& d) { return has(d, CUBLASLT_EPILOGUE_GELU); }
bool has_aux(const Description& d) { return has(d, CUBLASLT_EPILOGUE_GELU_AUX); }

std::size_t size_of(cudaDataType_t type) { return type == CUDA_R_16BF ? 2 : 4; }
std::uint64_t alignment_of(const void* p) {
  return std::uint64_t{1} << std::countr_zero(reinterpret_cast<std::uintptr_t>(p) | 256);
}

// --- what fits together ---

struct Problem {
  Description description;
  Layout A, B, C, D;

  std::int64_t m() const { return D.rows; }
  std::int64_t n() const { return D.columns; }
  std::int64_t k() const { return description.op_A == CUBLAS_OP_N ? A.columns : A.rows; }
};

std::string fault_of(const char* name, const Layout& x, std::int64_t rows, std::int64_t columns, cublasOperation_t op) {
  if (op == CUBLAS_OP_T) std::swap(rows, columns);
  if (x.rows != rows || x.columns != columns) {
    return fmt::format("{} is ({}, {}), not ({}, {})", name, x.rows, x.columns, rows, columns);
  }
  if (x.rows <= 0 || x.columns <= 0 || x.batch <= 0) return fmt::format("{} is empty", name);
  if (x.ld < x.rows) return fmt::format("ld {} of {} is less than its {} rows", x.ld, name, x.rows);
  return {};
}

/// Why there is no such product; empty if there is.
std::string fault_of(const Problem& p) {
  const Description& d = p.description;
  for (const auto& fault :
       {fault_of("A", p.A, p.m(), p.k(), d.op_A), fault_of("B", p.B, p.k(), p.n(), d.op_B),
        fault_of("C", p.C, p.m(), p.n(), CUBLAS_OP_N), fault_of("D", p.D, p.m(), p.n(), CUBLAS_OP_N)}) {
    if (!fault.empty()) return fault;
  }
  if (p.A.batch != p.D.batch || p.B.batch != p.D.batch || p.C.batch != p.D.batch) return "the batch counts differ";
  if (p.A.type != p.B.type || p.C.type != p.D.type) return "the types of A and B, or of C and D, differ";
  if (p.A.type == CUDA_R_32F && p.D.type == CUDA_R_16BF) return "a bf16 result of f32 operands";
  if (d.compute == CUBLAS_COMPUTE_32F_FAST_TF32 && p.A.type != CUDA_R_32F) return "TF32 is for f32 operands";
  if (has_aux(d) && (d.aux_ld < p.m() || d.aux_ld % 8 != 0 || d.aux_stride % 8 != 0)) {
    return fmt::format("ld {} and stride {} of the auxiliary matrix", d.aux_ld, d.aux_stride);
  }
  return {};
}

/// What an algorithm was proposed for.
std::uint64_t hash_of(const Problem& p) {
  std::uint64_t hash = 14695981039346656037u;  // FNV-1a, on words
  const Description& d = p.description;
  for (const std::int64_t word : {std::int64_t{d.compute}, std::int64_t{d.op_A}, std::int64_t{d.op_B},
                                  std::int64_t{d.epilogue}, d.aux_ld, d.aux_stride}) {
    hash = (hash ^ static_cast<std::uint64_t>(word)) * 1099511628211u;
  }
  for (const Layout* x : {&p.A, &p.B, &p.C, &p.D}) {
    for (const std::int64_t word :
         {std::int64_t{x->type}, x->rows, x->columns, x->ld, x->stride, std::int64_t{x->batch}}) {
      hash = (hash ^ static_cast<std::uint64_t>(word)) * 1099511628211u;
    }
  }
  return hash;
}

/// The meaning of an algorithm's words.
struct Algorithm {
  std::uint64_t number = 0, product = 0;
  std::array<std::uint64_t, 4> alignments{};  // of A, B, C, D
  std::uint64_t epilogue_alignment = 0;       // of bias and auxiliary matrix
  std::uint64_t mark = 0x6d6f6e6765;
};
static_assert(sizeof(Algorithm) == sizeof(cublasLtMatmulAlgo_t));

std::size_t workspace_of(const Algorithm& algorithm) { return static_cast<std::size_t>(algorithm.number) << 20; }

cublasStatus_t read(const cublasLtMatmulAlgo_t& from, const Problem& p, Algorithm& to) {
  to = std::bit_cast<Algorithm>(from);
  if (to.mark != Algorithm().mark || to.number >= algorithm_count) return invalid("these words are no algorithm");
  if (to.product != hash_of(p)) return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "an algorithm for another product");
  return CUBLAS_STATUS_SUCCESS;
}

// --- arithmetic ---

double read(const void* data, cudaDataType_t type, std::int64_t i) {
  return type == CUDA_R_16BF ? static_cast<float>(static_cast<const bf16*>(data)[i])
                             : static_cast<const float*>(data)[i];
}
void write(void* data, cudaDataType_t type, std::int64_t i, double value) {
  if (type == CUDA_R_16BF) {
    static_cast<bf16*>(data)[i] = bf16(static_cast<float>(value));
  } else {
    static_cast<float*>(data)[i] = static_cast<float>(value);
  }
}

/// 10 bits of mantissa, half to even.
double rounded_to_tf32(double x) {
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(x));
  return std::bit_cast<float>((bits + 0xFFFu + (bits >> 13 & 1u)) & ~0x1FFFu);
}

double gelu_tanh(double x) { return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x))); }

/// op(x), column-major and without gaps.
std::vector<double> gather(const void* data, const Layout& x, std::int64_t batch, cublasOperation_t op, bool tf32) {
  const std::int64_t rows = op == CUBLAS_OP_N ? x.rows : x.columns, columns = op == CUBLAS_OP_N ? x.columns : x.rows;
  std::vector<double> out(static_cast<std::size_t>(rows * columns));
  for (std::int64_t j = 0; j < columns; ++j) {
    for (std::int64_t i = 0; i < rows; ++i) {
      const double value = read(data, x.type, batch * x.stride + (op == CUBLAS_OP_N ? j * x.ld + i : i * x.ld + j));
      out[static_cast<std::size_t>(j * rows + i)] = tf32 ? rounded_to_tf32(value) : value;
    }
  }
  return out;
}

struct Call {
  Problem problem;
  Algorithm algorithm;
  float alpha, beta;
  const void *A, *B, *C;
  void *D, *workspace;

  void store(std::int64_t batch, std::int64_t i, std::int64_t j, double sum) const {
    const auto& [description, a, b, c, d] = problem;
    double x = alpha * sum;
    if (beta != 0.0f) x += beta * read(C, c.type, batch * c.stride + j * c.ld + i);
    if (has_bias(description)) x += read(description.bias, d.type, i);
    if (has_aux(description)) {
      write(description.aux, d.type, batch * description.aux_stride + j * description.aux_ld + i, x);
    }
    write(D, d.type, batch * d.stride + j * d.ld + i, has_gelu(description) ? gelu_tanh(x) : x);
  }

  void operator()() const {
    const std::int64_t m = problem.m(), n = problem.n(), k = problem.k();
    const bool tf32 = problem.description.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    const auto pieces = static_cast<std::int64_t>(algorithm.number) + 1;
    if (workspace_of(algorithm) > 0) std::memset(workspace, 0x7F, workspace_of(algorithm));
    for (std::int64_t batch = 0; batch < problem.D.batch; ++batch) {
      const auto a = gather(A, problem.A, batch, problem.description.op_A, tf32);
      const auto b = gather(B, problem.B, batch, problem.description.op_B, tf32);
      std::vector<double> sums(static_cast<std::size_t>(m));
      std::vector<float> total(sums.size());
      for (std::int64_t j = 0; j < n; ++j) {
        std::ranges::fill(total, 0.0f);
        for (std::int64_t piece = 0; piece < pieces; ++piece) {
          std::ranges::fill(sums, 0.0);
          for (std::int64_t l = piece * k / pieces; l < (piece + 1) * k / pieces; ++l) {
            const double factor = b[static_cast<std::size_t>(j * k + l)];
            const double* const column = a.data() + l * m;
            for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += column[i] * factor;
          }
          for (std::size_t i = 0; i < sums.size(); ++i) total[i] += static_cast<float>(sums[i]);
        }
        for (std::int64_t i = 0; i < m; ++i) store(batch, i, j, total[static_cast<std::size_t>(i)]);
      }
    }
  }
};

// --- what a call may do with devices and memory ---

constexpr const char* other_device = "another device is current than that of the handle or stream";

bool is_current(const cublasLtContext* handle) {
  int device = 0;
  cudaGetDevice(&device);
  return handle->device == device;
}

/// All matrices of the layout lie in one block of the device.
bool is_there(const void* data, cudaDataType_t type, std::int64_t rows, std::int64_t columns, std::int64_t ld,
              std::int64_t batch, std::int64_t stride) {
  const std::int64_t elements = (batch - 1) * stride + (columns - 1) * ld + rows;
  return device_memory().holds(data, static_cast<std::size_t>(elements) * size_of(type));
}
bool is_there(const void* data, const Layout& x) {
  return is_there(data, x.type, x.rows, x.columns, x.ld, x.batch, x.stride);
}

cublasStatus_t check(const Call& call, std::size_t workspace_bytes) {
  const Problem& p = call.problem;
  const Description& d = p.description;
  const void* const places[] = {call.A, call.B, call.C, call.D};
  const Layout* const layouts[] = {&p.A, &p.B, &p.C, &p.D};
  for (std::size_t i = 0; i < 4; ++i) {
    if (!is_there(places[i], *layouts[i])) return invalid(fmt::format("{} is not all in device memory", "ABCD"[i]));
    if (alignment_of(places[i]) < call.algorithm.alignments[i]) {
      return invalid(fmt::format("{} is not aligned as promised", "ABCD"[i]));
    }
  }
  if (call.D == call.A || call.D == call.B) return invalid("D is also an operand");
  if (has_bias(d)) {
    if (d.bias_type != -1 && d.bias_type != p.D.type) return invalid("the type of the bias is not that of D");
    if (!device_memory().holds(d.bias, static_cast<std::size_t>(p.m()) * size_of(p.D.type)) ||
        alignment_of(d.bias) < call.algorithm.epilogue_alignment) {
      return invalid("the bias is not in device memory or not aligned as before");
    }
  }
  if (has_aux(d)) {
    if (d.aux_type != -1 && d.aux_type != p.D.type) return invalid("the type of the auxiliary matrix is not that of D");
    if (!is_there(d.aux, p.D.type, p.m(), p.n(), d.aux_ld, p.D.batch, d.aux_stride) ||
        alignment_of(d.aux) < call.algorithm.epilogue_alignment) {
      return invalid("the auxiliary matrix is not in device memory or not aligned as before");
    }
  }
  const std::size_t needed = workspace_of(call.algorithm);
  if (needed > workspace_bytes || (needed > 0 && !device_memory().holds(call.workspace, needed))) {
    return invalid("the workspace is too small");
  }
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_SUCCESS ? "success" : problem.c_str();
}
const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "?";
}
std::size_t cublasLtGetVersion() { return 130100; }

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new cublasLtContext;
  cudaGetDevice(&(*handle)->device);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* description, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  if (scale != CUDA_R_32F) return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "factors are f32");
  *description = new cublasLtMatmulDescOpaque_t{.compute = compute};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t description) {
  delete description;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t description, cublasLtMatmulDescAttributes_t name,
                                              const void* value, std::size_t bytes) {
  switch (name) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return set(description->op_A, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB: return set(description->op_B, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return set(description->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return set(description->bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE: return set(description->bias_type, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER: return set(description->aux, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD: return set(description->aux_ld, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE: return set(description->aux_stride, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE: return set(description->aux_type, value, bytes);
  }
  return invalid("an unknown attribute of a product");
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type, std::uint64_t rows,
                                          std::uint64_t columns, std::int64_t ld) {
  *layout = new cublasLtMatrixLayoutOpaque_t{
      .type = type, .rows = static_cast<std::int64_t>(rows), .columns = static_cast<std::int64_t>(columns), .ld = ld};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t name,
                                                const void* value, std::size_t bytes) {
  switch (name) {
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: return set(layout->batch, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: return set(layout->stride, value, bytes);
  }
  return invalid("an unknown attribute of a matrix");
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t name, const void* value,
                                                    std::size_t bytes) {
  switch (name) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: return set(preference->workspace_bytes, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: return set(preference->reductions, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES: return set(preference->alignment_A, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES: return set(preference->alignment_B, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES: return set(preference->alignment_C, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES: return set(preference->alignment_D, value, bytes);
  }
  return invalid("an unknown attribute of a preference");
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t description,
                                              cublasLtMatrixLayout_t A, cublasLtMatrixLayout_t B,
                                              cublasLtMatrixLayout_t C, cublasLtMatrixLayout_t D,
                                              cublasLtMatmulPreference_t preference, int most,
                                              cublasLtMatmulHeuristicResult_t* results, int* count) {
  *count = 0;
  if (!is_current(handle)) return invalid(other_device);
  const Problem p{*description, *A, *B, *C, *D};
  if (const std::string fault = fault_of(p); !fault.empty()) return invalid(fault);
  std::uint64_t epilogue_alignment = 256;
  if (has_bias(*description)) epilogue_alignment = std::min(epilogue_alignment, alignment_of(description->bias));
  if (has_aux(*description)) epilogue_alignment = std::min(epilogue_alignment, alignment_of(description->aux));
  for (std::uint64_t number = 0; number < algorithm_count && *count < most; ++number) {
    const Algorithm algorithm{.number = number,
                              .product = hash_of(p),
                              .alignments = {preference->alignment_A, preference->alignment_B, preference->alignment_C,
                                             preference->alignment_D},
                              .epilogue_alignment = epilogue_alignment};
    const bool splits = number > 0;
    if (splits && (preference->reductions & CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE) == 0) continue;
    if (workspace_of(algorithm) > preference->workspace_bytes) continue;
    results[(*count)++] = {std::bit_cast<cublasLtMatmulAlgo_t>(algorithm), workspace_of(algorithm),
                           CUBLAS_STATUS_SUCCESS};
  }
  return *count > 0 ? CUBLAS_STATUS_SUCCESS : refuse(CUBLAS_STATUS_NOT_SUPPORTED, "no algorithm does this");
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t description,
                                       cublasLtMatrixLayout_t A, cublasLtMatrixLayout_t B, cublasLtMatrixLayout_t C,
                                       cublasLtMatrixLayout_t D, const cublasLtMatmulAlgo_t* algorithm,
                                       cublasLtMatmulHeuristicResult_t* result) {
  if (!is_current(handle)) return invalid(other_device);
  Algorithm read_algorithm;
  const cublasStatus_t status = read(*algorithm, {*description, *A, *B, *C, *D}, read_algorithm);
  *result = {*algorithm, workspace_of(read_algorithm), status};
  return status;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t description, const void* alpha,
                              const void* A, cublasLtMatrixLayout_t layout_A, const void* B,
                              cublasLtMatrixLayout_t layout_B, const void* beta, const void* C,
                              cublasLtMatrixLayout_t layout_C, void* D, cublasLtMatrixLayout_t layout_D,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, std::size_t workspace_bytes,
                              cudaStream_t stream) {
  Call call{.problem = {*description, *layout_A, *layout_B, *layout_C, *layout_D},
            .algorithm = {},
            .alpha = *static_cast<const float*>(alpha),
            .beta = *static_cast<const float*>(beta),
            .A = A,
            .B = B,
            .C = C,
            .D = D,
            .workspace = workspace};
  if (!is_current(handle) || !is_of_current_device(stream)) return invalid(other_device);
  if (const std::string fault = fault_of(call.problem); !fault.empty()) return invalid(fault);
  if (const auto status = read(*algorithm, call.problem, call.algorithm)) return status;
  if (const auto status = check(call, workspace_bytes)) return status;
  stream->enqueue(call);
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace monge::simt
