#include "core/cuda/products/products.h"
#include "core/error.h"

namespace monge::MONGE_GPU {
namespace {

const char* name_of(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::none: return "none";
    case Epilogue::bias: return "bias";
    case Epilogue::gelu_tanh: return "gelu_tanh";
  }
  return "?";
}

}  // namespace

std::string describe(const Product& p) {
  return fmt::format("{} x {}{} ({}, {}) x {}{} ({}, {}) -> {} (ld {}, {}, {}), epilogue {}", p.batch,
                     monge::name_of(p.type), p.transpose_a ? " transposed" : "", p.m, p.k, monge::name_of(p.type),
                     p.transpose_b ? " transposed" : "", p.k, p.n, monge::name_of(p.out_type), p.lda, p.ldb, p.ldout,
                     name_of(p.epilogue));
}

void check(const Product& p) {
  const auto need = [&p](bool ok, const char* what) { require(ok, "[product] {}: {}", describe(p), what); };
  need(p.m >= 0 && p.n >= 0 && p.k >= 0 && p.batch >= 0, "sizes must not be negative");
  need(p.type == DType::f32 || p.type == DType::bf16, "operands must be f32 or bf16");
  need(p.out_type == DType::f32 || p.out_type == p.type, "the result must be f32 or of the operands' type");
  need(p.lda >= (p.transpose_a ? p.m : p.k), "lda must cover a row of a");
  need(p.ldb >= (p.transpose_b ? p.k : p.n), "ldb must cover a row of b");
  need(p.ldout >= p.n, "ldout must cover a row of the result");
  need(p.beta == 0.0f || p.beta == 1.0f, "beta must be 0 or 1");
  need(p.beta == 0.0f || p.epilogue == Epilogue::none, "accumulation goes without an epilogue");
  need(p.epilogue != Epilogue::bias || p.bias != nullptr, "the bias is missing");
  need(p.epilogue != Epilogue::none || p.bias == nullptr, "a bias needs an epilogue");
  need(p.epilogue == Epilogue::gelu_tanh || p.pre_activation == nullptr, "pre_activation needs gelu_tanh");
}

}  // namespace monge::MONGE_GPU
