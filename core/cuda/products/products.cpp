#include "core/cuda/products/products.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <optional>
#include <vector>

#include "core/cuda/products/stopwatch.h"
#include "core/cuda/products/tuning_file.h"
#include "core/error.h"

namespace monge::MONGE_GPU {
namespace {

void check_cublas(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) [[likely]] {
    return;
  }
  throw RunError(
      fmt::format("cublasLt: {}: {} ({})", what, cublasLtGetStatusString(status), cublasLtGetStatusName(status)));
}

cudaDataType_t cuda_type(DType type) { return type == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

template <class T, cublasStatus_t (*destroy)(T)>
struct Destroy {
  using pointer = T;
  void operator()(T object) const { destroy(object); }
};
template <class T, cublasStatus_t (*destroy)(T)>
using Owned = std::unique_ptr<std::remove_pointer_t<T>, Destroy<T, destroy>>;
using Handle = Owned<cublasLtHandle_t, cublasLtDestroy>;
using Operation = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

template <class T>
void set(const Operation& operation, cublasLtMatmulDescAttributes_t name, const T& value) {
  check_cublas(cublasLtMatmulDescSetAttribute(operation.get(), name, &value, sizeof(value)), "describe a product");
}
template <class T>
void set(const Layout& layout, cublasLtMatrixLayoutAttribute_t name, const T& value) {
  check_cublas(cublasLtMatrixLayoutSetAttribute(layout.get(), name, &value, sizeof(value)), "describe a matrix");
}
template <class T>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t name, const T& value) {
  check_cublas(cublasLtMatmulPreferenceSetAttribute(preference.get(), name, &value, sizeof(value)),
               "describe the choice");
}

/// Column-major, as cuBLAS sees memory.
Layout layout_of(DType type, std::int64_t rows, std::int64_t columns, std::int64_t ld, std::int64_t batch,
                 std::int64_t stride) {
  cublasLtMatrixLayout_t made = nullptr;
  check_cublas(cublasLtMatrixLayoutCreate(&made, cuda_type(type), static_cast<std::uint64_t>(rows),
                                          static_cast<std::uint64_t>(columns), ld),
               "describe a matrix");
  Layout layout(made);
  set(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<std::int32_t>(batch));
  set(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, stride);
  return layout;
}

/// The power of two that an address is known to be a multiple of, up to the 16 bytes of a vector load.
std::int64_t alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  return address % 16 == 0 ? 16 : std::int64_t{1} << std::countr_zero(address);
}

/// All that the choice of an algorithm depends on.
using Key = std::array<std::int64_t, 21>;

Key key_of(const Product& p) {
  return {static_cast<std::int64_t>(p.type),
          static_cast<std::int64_t>(p.out_type),
          p.transpose_a,
          p.transpose_b,
          p.m,
          p.n,
          p.k,
          p.lda,
          p.ldb,
          p.ldout,
          p.batch,
          p.stride_a,
          p.stride_b,
          p.stride_out,
          p.beta != 0.0f,
          static_cast<std::int64_t>(p.epilogue),
          p.bias != nullptr,
          p.pre_activation != nullptr,
          alignment_of(p.a),
          alignment_of(p.b),
          alignment_of(p.out)};
}

bool is_empty(const Product& p) { return p.m == 0 || p.n == 0 || p.batch == 0; }

Product without_epilogue(Product p) {
  p.epilogue = Epilogue::none;
  p.bias = nullptr;
  p.pre_activation = nullptr;
  return p;
}

cublasLtEpilogue_t epilogue_of(const Product& p) {
  switch (p.epilogue) {
    case Epilogue::none: return CUBLASLT_EPILOGUE_DEFAULT;
    case Epilogue::bias: return CUBLASLT_EPILOGUE_BIAS;
    case Epilogue::gelu_tanh: break;
  }
  if (p.pre_activation != nullptr) {
    return p.bias != nullptr ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
  }
  return p.bias != nullptr ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
}

/// What cuBLASLt asks of the vectors and matrices of an epilogue.
bool epilogue_fits(const Product& p) {
  const bool bias = p.bias == nullptr || (alignment_of(p.bias) == 16 && p.type == p.out_type);
  const bool aux = p.pre_activation == nullptr ||
                   (alignment_of(p.pre_activation) == 16 && p.ldout % 8 == 0 && p.stride_out % 8 == 0);
  return bias && aux;
}

/// An algorithm as text, and back: cuBLASLt lets its 64 bytes be stored for the same version of the library.
std::string to_text(const cublasLtMatmulAlgo_t& algorithm) {
  return fmt::format("{:016x}", fmt::join(algorithm.data, " "));
}
std::optional<cublasLtMatmulAlgo_t> from_text(const std::string& text) {
  cublasLtMatmulAlgo_t algorithm{};
  const char* at = text.c_str();
  for (auto& word : algorithm.data) {
    char* end = nullptr;
    word = std::strtoull(at, &end, 16);
    if (end == at) return std::nullopt;
    at = end;
  }
  return algorithm;
}

/// A described product: row-major out = a b is column-major out^T = b^T a^T, so the operands change places.
struct ProductPlan {
  Operation operation;
  Layout first, second, out;
  std::optional<cublasLtMatmulAlgo_t> algorithm;  // none: cuBLASLt cannot do it

  void point_to(const void* bias, void* pre_activation) const {
    if (bias != nullptr) set(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    if (pre_activation != nullptr) set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, pre_activation);
  }
};

ProductPlan describe_for_cublas(const Product& p, bool allow_tf32) {
  const bool tf32 = p.type == DType::f32 && allow_tf32;
  cublasLtMatmulDesc_t made = nullptr;
  check_cublas(cublasLtMatmulDescCreate(&made, tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
               "describe a product");
  ProductPlan plan{
      .operation = Operation(made),
      .first = layout_of(p.type, p.transpose_b ? p.k : p.n, p.transpose_b ? p.n : p.k, p.ldb, p.batch, p.stride_b),
      .second = layout_of(p.type, p.transpose_a ? p.m : p.k, p.transpose_a ? p.k : p.m, p.lda, p.batch, p.stride_a),
      .out = layout_of(p.out_type, p.n, p.m, p.ldout, p.batch, p.stride_out),
      .algorithm = {}};
  set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(p));
  if (p.bias != nullptr) {
    set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<std::int32_t>(cuda_type(p.type)));
  }
  if (p.pre_activation != nullptr) {
    set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, p.ldout);
    set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE, p.stride_out);
    set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE, static_cast<std::int32_t>(cuda_type(p.out_type)));
  }
  // While an algorithm is chosen an address says only how far it is aligned: no further than fuses() asks.
  const auto place = reinterpret_cast<void*>(std::uintptr_t{16});
  plan.point_to(p.bias != nullptr ? place : nullptr, p.pre_activation != nullptr ? place : nullptr);
  return plan;
}

std::string library_version() {
  const std::size_t v = cublasLtGetVersion();
  return fmt::format("cuBLASLt {}.{}.{}", v / 10000, v / 100 % 100, v % 100);
}

std::string device_name() {
  int device = 0;
  check(cudaGetDevice(&device));
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device));
  return properties.name;
}

}  // namespace

struct Products::Implementation {
  Implementation(Runtime& device, MemoryPools& pools)
      : runtime(device),
        memory(pools),
        workspace_bytes(std::size_t{device.architecture() >= 90 ? 32u : 4u} << 20),
        workspace(pools.allocate(workspace_bytes, Pool::scratch)) {
    runtime.make_current();
    cublasLtHandle_t made = nullptr;
    check_cublas(cublasLtCreate(&made), "start");
    handle.reset(made);
  }

  /// The plan of a product, made at its first use.
  const ProductPlan& plan_for(const Product& p) {
    const Key key = key_of(p);
    const auto found = plans.find(key);
    if (found != plans.end()) return found->second;
    ProductPlan plan = describe_for_cublas(p, options.allow_tf32);
    choose(p, plan);
    return plans.emplace(key, std::move(plan)).first->second;
  }

  void choose(const Product& p, ProductPlan& plan) {
    runtime.make_current();
    const std::string key = text_of(p);
    if (options.tune) {
      plan.algorithm = remembered(key, plan);
      if (plan.algorithm) return;
    }
    const bool timing = options.tune && !runtime.capturing();
    const std::vector<cublasLtMatmulAlgo_t> algorithms = proposals(p, plan, timing ? 8 : 1);
    if (algorithms.empty()) return;
    plan.algorithm = algorithms.front();
    if (!timing) return;
    if (algorithms.size() > 1) plan.algorithm = fastest(p, plan, algorithms);
    file.remember(key, to_text(*plan.algorithm));
  }

  std::optional<cublasLtMatmulAlgo_t> remembered(const std::string& key, const ProductPlan& plan) const {
    const auto text = file.find(key);
    const auto algorithm = text ? from_text(*text) : std::nullopt;
    if (!algorithm) return std::nullopt;
    cublasLtMatmulHeuristicResult_t result{};
    const cublasStatus_t status =
        cublasLtMatmulAlgoCheck(handle.get(), plan.operation.get(), plan.first.get(), plan.second.get(), plan.out.get(),
                                plan.out.get(), &*algorithm, &result);
    return status == CUBLAS_STATUS_SUCCESS && result.workspaceSize <= workspace_bytes ? algorithm : std::nullopt;
  }

  /// cuBLASLt's algorithms, what it believes to be the fastest first.
  std::vector<cublasLtMatmulAlgo_t> proposals(const Product& p, const ProductPlan& plan, int most) const {
    cublasLtMatmulPreference_t made = nullptr;
    check_cublas(cublasLtMatmulPreferenceCreate(&made), "describe the choice");
    const Preference preference(made);
    set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{workspace_bytes});
    // Parts of a long sum are added in f32, not in the type of the result.
    set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<std::uint32_t>(alignment_of(p.b)));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<std::uint32_t>(alignment_of(p.a)));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<std::uint32_t>(alignment_of(p.out)));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<std::uint32_t>(alignment_of(p.out)));

    std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<std::size_t>(most));
    int count = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle.get(), plan.operation.get(), plan.first.get(), plan.second.get(),
                                       plan.out.get(), plan.out.get(), preference.get(), most, results.data(), &count);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) return {};
    check_cublas(status, "choose an algorithm");
    std::vector<cublasLtMatmulAlgo_t> algorithms;
    for (int i = 0; i < count; ++i) {
      if (results[i].state == CUBLAS_STATUS_SUCCESS) algorithms.push_back(results[i].algo);
    }
    return algorithms;
  }

  cublasLtMatmulAlgo_t fastest(const Product& p, const ProductPlan& plan,
                               const std::vector<cublasLtMatmulAlgo_t>& algorithms) {
    Product trial = p;
    std::shared_ptr<void> beside;
    if (p.beta != 0.0f) {  // runs that add to `out` must not be seen there
      const std::int64_t elements = (p.batch - 1) * p.stride_out + (p.m - 1) * p.ldout + p.n;
      beside = memory.allocate(static_cast<std::size_t>(elements) * size_of(p.out_type), Pool::scratch);
      trial.out = beside.get();
    }
    const Stopwatch watch(runtime.stream());
    std::size_t best = 0;
    float least = 0.0f;
    for (std::size_t i = 0; i < algorithms.size(); ++i) {
      const float elapsed = watch.time([&] { enqueue(trial, plan, algorithms[i]); });
      if (i == 0 || elapsed < least) {
        least = elapsed;
        best = i;
      }
    }
    return algorithms[best];
  }

  void enqueue(const Product& p, const ProductPlan& plan, const cublasLtMatmulAlgo_t& algorithm) const {
    plan.point_to(p.bias, p.pre_activation);
    check_cublas(cublasLtMatmul(handle.get(), plan.operation.get(), &p.alpha, p.b, plan.first.get(), p.a,
                                plan.second.get(), &p.beta, p.out, plan.out.get(), p.out, plan.out.get(), &algorithm,
                                workspace.get(), workspace_bytes, runtime.stream()),
                 "run a product");
  }

  /// A sum over nothing.
  void clear(const Product& p) const {
    if (p.beta != 0.0f) return;
    const std::size_t element = size_of(p.out_type);
    for (std::int64_t i = 0; i < p.batch; ++i) {
      check(cudaMemset2DAsync(static_cast<std::byte*>(p.out) + i * p.stride_out * element, p.ldout * element, 0,
                              p.n * element, p.m, runtime.stream()));
    }
  }

  std::string text_of(const Product& p) const {
    return fmt::format("{}{}", fmt::join(key_of(p), " "), options.allow_tf32 ? " tf32" : "");
  }

  bool decide_fusion(const Product& p, const std::function<void()>& separate) {
    const ProductPlan& fused = plan_for(p);
    if (!fused.algorithm) return false;
    if (!options.tune) return p.epilogue == Epilogue::bias;
    const std::string key = text_of(p) + " fused";
    if (const auto choice = file.find(key)) return *choice == "yes";
    if (runtime.capturing()) return p.epilogue == Epilogue::bias;
    const Product bare = without_epilogue(p);
    const ProductPlan& plain = plan_for(bare);
    if (!plain.algorithm) return true;
    const Stopwatch watch(runtime.stream());
    const float together = watch.time([&] { enqueue(p, fused, *fused.algorithm); });
    const float apart = watch.time([&] {
      enqueue(bare, plain, *plain.algorithm);
      separate();
    });
    file.remember(key, together <= apart ? "yes" : "no");
    return together <= apart;
  }

  Runtime& runtime;
  MemoryPools& memory;
  const std::size_t workspace_bytes;
  const std::shared_ptr<void> workspace;  // calls follow each other on one stream, so they can share it
  Handle handle;
  ProductOptions options;
  TuningFile file;
  std::map<Key, ProductPlan> plans;
  std::map<Key, bool> fusions;
};

Products::Products(Runtime& runtime, MemoryPools& memory, const ProductOptions& options)
    : implementation_(std::make_unique<Implementation>(runtime, memory)) {
  configure(options);
}

Products::~Products() = default;

void Products::configure(const ProductOptions& options) {
  implementation_->runtime.make_current();
  implementation_->options = options;
  implementation_->file = options.tune && !options.tuning_file.empty()
                              ? TuningFile(options.tuning_file, fmt::format("{}, {}", device_name(), version()))
                              : TuningFile();
  implementation_->plans.clear();
  implementation_->fusions.clear();
}

void Products::run(const Product& p) {
  check(p);
  if (is_empty(p)) return;
  if (p.k == 0) {
    require(p.epilogue == Epilogue::none, "[product] {}: a sum over nothing fuses no epilogue", describe(p));
    return implementation_->clear(p);
  }
  const ProductPlan& plan = implementation_->plan_for(p);
  if (!plan.algorithm) throw RunError(fmt::format("cublasLt: no algorithm can do the product {}", describe(p)));
  implementation_->enqueue(p, plan, *plan.algorithm);
}

bool Products::fuses(const Product& p, const std::function<void()>& separate) {
  check(p);
  if (p.epilogue == Epilogue::none || is_empty(p)) return true;
  if (p.k == 0 || !epilogue_fits(p)) return false;
  const Key key = key_of(p);
  const auto found = implementation_->fusions.find(key);
  if (found != implementation_->fusions.end()) return found->second;
  return implementation_->fusions[key] = implementation_->decide_fusion(p, separate);
}

std::string Products::version() const { return library_version(); }
std::string Products::note() const { return implementation_->file.note(); }

}  // namespace monge::MONGE_GPU
