#include "core/cpu/onednn.h"

#include <array>
#include <dnnl.hpp>
#include <map>
#include <unordered_map>

#include "core/cpu/parallel.h"
#include "core/error.h"

namespace monge::cpu {
namespace {

using dnnl::memory;

// What a call needs beside its pointers, so that running it again allocates nothing on the heap.
struct Prepared {
  bool supported = false;
  dnnl::matmul primitive;
  std::array<memory, 5> arguments;  // a, b, out, bias, scratchpad; the last two may be absent
  std::array<dnnl_exec_arg_t, 5> table{};
  int count = 0;
  std::size_t scratch_bytes = 0;
};

struct ProductHash {
  std::size_t operator()(const Product& p) const {
    std::uint64_t h = 0;
    const auto mix = [&h](std::int64_t x) {
      h = (h ^ static_cast<std::uint64_t>(x)) * 0x9E3779B97F4A7C15ull;
      h ^= h >> 32;
    };
    mix(p.m);
    mix(p.n);
    mix(p.k);
    mix(p.batch);
    mix(p.transpose_a | p.transpose_b << 1 | p.accumulate << 2 | p.has_bias << 3 | static_cast<int>(p.in) << 4 |
        static_cast<int>(p.out) << 8 | static_cast<int>(p.bias) << 12);
    return h;
  }
};

dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::stream& stream() {
  static dnnl::stream in_order(engine());
  return in_order;
}

memory::data_type type_of(DType dtype) {
  return dtype == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
}

memory::desc matrices(std::int64_t batch, std::int64_t rows, std::int64_t columns, bool transposed, DType dtype) {
  const memory::dims strides{rows * columns, transposed ? 1 : columns, transposed ? rows : 1};
  return {{batch, rows, columns}, type_of(dtype), strides};
}

// An empty descriptor means that oneDNN has no kernel for these types on this processor.
dnnl::matmul::primitive_desc describe(const Product& p) {
  const auto a = matrices(p.batch, p.m, p.k, p.transpose_a, p.in);
  const auto b = matrices(p.batch, p.k, p.n, p.transpose_b, p.in);
  const auto out = matrices(p.batch, p.m, p.n, false, p.out);
  const auto bias = p.has_bias ? matrices(1, 1, p.n, false, p.bias) : memory::desc();

  dnnl::post_ops operations;
  if (p.accumulate) operations.append_sum(1.0f);
  dnnl::primitive_attr attributes;
  attributes.set_post_ops(operations);
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);

  constexpr bool allow_empty = true;
#if DNNL_VERSION_MAJOR >= 3
  if (!p.has_bias) return {engine(), a, b, out, attributes, allow_empty};
  return {engine(), a, b, bias, out, attributes, allow_empty};
#else
  const auto operation = p.has_bias ? dnnl::matmul::desc(a, b, bias, out) : dnnl::matmul::desc(a, b, out);
  return {operation, attributes, engine(), allow_empty};
#endif
}

Prepared prepare(const Product& product) {
  Prepared prepared;
  const auto descriptor = describe(product);
  if (!descriptor) return prepared;
  prepared.supported = true;
  prepared.primitive = dnnl::matmul(descriptor);
  prepared.scratch_bytes = descriptor.scratchpad_desc().get_size();

  const auto add = [&](std::size_t slot, int name, const memory::desc& layout) {
    prepared.arguments[slot] = memory(layout, engine(), nullptr);
    prepared.table[static_cast<std::size_t>(prepared.count++)] = {name, prepared.arguments[slot].get()};
  };
  add(0, DNNL_ARG_SRC, descriptor.src_desc());
  add(1, DNNL_ARG_WEIGHTS, descriptor.weights_desc());
  add(2, DNNL_ARG_DST, descriptor.dst_desc());
  if (product.has_bias) add(3, DNNL_ARG_BIAS, descriptor.bias_desc());
  if (prepared.scratch_bytes > 0) add(4, DNNL_ARG_SCRATCHPAD, descriptor.scratchpad_desc());
  return prepared;
}

}  // namespace

bool run_product(const Product& product, const void* a, const void* b, const void* bias, void* out) {
  // A primitive splits its work for the number of threads that it was made under.
  static std::map<int, std::unordered_map<Product, Prepared, ProductHash>> by_threads;
  auto& cache = by_threads[thread_count()];
  auto found = cache.find(product);
  if (found == cache.end()) found = cache.emplace(product, prepare(product)).first;
  const Prepared& prepared = found->second;
  if (!prepared.supported) return false;

  std::shared_ptr<void> scratch;
  const auto point = [&prepared](std::size_t slot, const void* data) {
    dnnl_memory_set_data_handle(prepared.arguments[slot].get(), const_cast<void*>(data));
  };
  point(0, a);
  point(1, b);
  point(2, out);
  if (product.has_bias) point(3, bias);
  if (prepared.scratch_bytes > 0) {
    scratch = backend_of({DeviceKind::cpu, 0}).memory().allocate(prepared.scratch_bytes, Pool::scratch);
    point(4, scratch.get());
  }
  const auto status =
      dnnl_primitive_execute(prepared.primitive.get(), stream().get(), prepared.count, prepared.table.data());
  if (status != dnnl_success)
    throw RunError(fmt::format("[matmul] oneDNN failed with status {}", static_cast<int>(status)));
  return true;
}

std::string onednn_version() {
  const auto* version = dnnl_version();
  return fmt::format("oneDNN {}.{}.{}", version->major, version->minor, version->patch);
}

}  // namespace monge::cpu
