// Products: strided batched matrix products with epilogues, by cuBLASLt.
//
// Sums are in f32 (true f32 for f32 operands, unless TF32 is allowed) and the same bits come out in every run. A call
// enqueues and never waits, except that the first one of its kind may time the candidates when tuning is asked for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "core/cuda/runtime.h"
#include "core/memory.h"

namespace monge::MONGE_GPU {

/// What is done to a product before it is stored: x + bias, and for gelu_tanh also Activation::gelu_tanh of that.
enum class Epilogue : std::uint8_t { none, bias, gelu_tanh };

/// out = epilogue(alpha op(a) op(b) + beta out) for each of `batch` row-major matrices. Leading dimensions and batch
/// strides in elements; a batch stride of 0 repeats an operand. Pointers on the device.
struct Product {
  const void* a = nullptr;      // (m, k), or (k, m) when transpose_a
  const void* b = nullptr;      // (k, n), or (n, k) when transpose_b
  void* out = nullptr;          // (m, n); not a or b
  DType type = DType::f32;      // of a and b: f32 or bf16
  DType out_type = DType::f32;  // f32, or `type`
  bool transpose_a = false, transpose_b = false;
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t lda = 0, ldb = 0, ldout = 0;
  std::int64_t batch = 1, stride_a = 0, stride_b = 0, stride_out = 0;
  float alpha = 1.0f, beta = 0.0f;  // beta: 0 (out is not read) or 1; 0 with an epilogue
  Epilogue epilogue = Epilogue::none;
  const void* bias = nullptr;      // (n) of `type`; may be null for gelu_tanh
  void* pre_activation = nullptr;  // gelu_tanh: null, or receives the value before it; laid out as out
};

struct ProductOptions {
  bool allow_tf32 = false;  // f32 products on tensor cores: 10-bit mantissas
  /// Times up to eight algorithms at the first use of a shape instead of taking cuBLASLt's first, and remembers the
  /// choice in `tuning_file` (if given), so that later runs have the same bits.
  bool tune = false;
  std::filesystem::path tuning_file;
};

class Products {
 public:
  /// Takes one workspace from `memory`. Throws RunError when the library cannot start.
  Products(Runtime& runtime, MemoryPools& memory, const ProductOptions& options = {});
  ~Products();
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  /// Forgets what was chosen so far.
  void configure(const ProductOptions& options);

  /// Throws std::invalid_argument for arguments that break the contract above, RunError when no algorithm can do it;
  /// with an epilogue ask `fuses` first.
  void run(const Product& product);

  /// Whether the epilogue should be part of the product. `separate` enqueues it as kernels of their own, in place on
  /// `out`; it is called only to be timed, when tuning. Without tuning: a bias is fused wherever that is possible,
  /// gelu_tanh, which slows the product down on most devices, is not.
  bool fuses(const Product& product, const std::function<void()>& separate);

  /// "cuBLASLt 13.1.0"
  std::string version() const;
  /// A problem with the tuning file that the user should know of; empty if none.
  std::string note() const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

/// One line for people: types, sizes, epilogue.
std::string describe(const Product& product);
/// Throws std::invalid_argument when `product` breaks its contract.
void check(const Product& product);

}  // namespace monge::MONGE_GPU
