#include "core/cpu/cpu_backend.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "core/cpu/kernels.h"
#include "core/cpu/onednn.h"
#include "core/cpu/parallel.h"
#include "core/error.h"

namespace monge {
namespace {

constexpr std::size_t cache_line = 64;
constexpr std::size_t huge_page = std::size_t{2} << 20;

// Large blocks start on a huge page and ask for more of them: fewer TLB misses in the products.
void* allocate_block(std::size_t bytes) {
  const bool large = bytes >= 2 * huge_page;
  const std::size_t alignment = large ? huge_page : cache_line;
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  if (rounded < bytes) return nullptr;
  void* block = std::aligned_alloc(alignment, rounded);
  if (block != nullptr && large) madvise(block, rounded, MADV_HUGEPAGE);  // a hint: refusal does no harm
  return block;
}

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

class CpuBackend final : public Backend {
 public:
  Device device() const override { return {DeviceKind::cpu, 0}; }

  std::string description() const override {
    return fmt::format("{}, {}, {} threads, {}", processor_name(), cpu::simd_target(), cpu::thread_count(),
                       cpu::onednn_version());
  }

  MemoryPools& memory() override { return memory_; }

  std::vector<std::string> notes() const override {
    if (!cpu::has_widened_products()) return {};
    return {
        "this processor has no bf16 arithmetic: products are computed in f32, on copies. That is slower than float32"};
  }

  void copy_from_host(const void* from, const Tensor& to) override {
    if (to.bytes() > 0) std::memcpy(to.data(), from, to.bytes());  // an empty vector's data is null
  }
  void copy_to_host(const Tensor& from, void* to) override {
    if (from.bytes() > 0) std::memcpy(to, from.data(), from.bytes());
  }
  void copy(const Tensor& from, const Tensor& to) override { cpu::copy(from, to); }
  void fill(const Tensor& x, double value) override { cpu::fill(x, value); }
  void synchronize() override {}

  void uniform(const Tensor& x, double low, double high, const Random& random) override {
    cpu::uniform(x, low, high, random);
  }
  void normal(const Tensor& x, double mean, double stddev, const Random& random) override {
    cpu::normal(x, mean, stddev, random);
  }
  void dropout(const Tensor& x, const Tensor& y, double p, const Random& random) override {
    cpu::dropout(x, y, p, random);
  }

  void matmul(const Matmul& args) override { cpu::matmul(args); }

  void add(const Tensor& a, const Tensor& b, const Tensor& out) override { cpu::add(a, b, out); }
  void mul(const Tensor& a, const Tensor& b, const Tensor& out) override { cpu::mul(a, b, out); }
  void scale(const Tensor& x, double factor, const Tensor& out) override { cpu::scale(x, factor, out); }
  void add_scaled(const Tensor& x, double factor, const Tensor& y) override { cpu::add_scaled(x, factor, y); }
  void pointwise(Pointwise function, const Tensor& a, const Tensor& b, const Tensor& out) override {
    cpu::pointwise(function, a, b, out);
  }
  void activation(Activation kind, const Tensor& x, const Tensor& y) override { cpu::activation(kind, x, y); }
  void activation_backward(Activation kind, const Tensor& x, const Tensor& dy, const Tensor& dx,
                           const Tensor& y) override {
    cpu::activation_backward(kind, x, dy, dx, y);
  }

  void swap_middle(const Tensor& x, const Tensor& y) override { cpu::swap_middle(x, y); }
  void sum(const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, double factor, const Tensor& out,
           bool accumulate) override {
    cpu::sum(x, outer, n, inner, factor, out, accumulate);
  }
  void repeat(const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, double factor,
              const Tensor& out) override {
    cpu::repeat(x, outer, n, inner, factor, out);
  }
  void dot(const Tensor& a, const Tensor& b, const Tensor& out) override { cpu::dot(a, b, out); }

  void softmax(const Tensor& x, const Tensor& y) override { cpu::softmax(x, y); }
  void softmax_backward(const Tensor& y, const Tensor& dy, const Tensor& dx) override {
    cpu::softmax_backward(y, dy, dx);
  }
  void norm(const Norm& args) override { cpu::norm(args); }
  void norm_backward(const NormBackward& args) override { cpu::norm_backward(args); }
  void rope(const Rope& args) override { cpu::rope(args); }

  void embedding(const Tensor& ids, const Tensor& table, const Tensor& out) override {
    cpu::embedding(ids, table, out);
  }
  void embedding_backward(const Tensor& ids, const Tensor& dout, const Tensor& dtable, bool accumulate) override {
    cpu::embedding_backward(ids, dout, dtable, accumulate);
  }
  void target_share(const Tensor& targets, std::int64_t vocab, const Tensor& share) override {
    cpu::target_share(targets, vocab, share);
  }
  void sample_targets(const Tensor& logits, const Random& random, const Tensor& targets) override {
    cpu::sample_targets(logits, random, targets);
  }
  void cross_entropy(const CrossEntropy& args) override { cpu::cross_entropy(args); }
  void cross_entropy_backward(const CrossEntropyBackward& args) override { cpu::cross_entropy_backward(args); }

  void attention(const Attention& args) override { cpu::attention(args); }
  void attention_backward(const AttentionBackward& args) override { cpu::attention_backward(args); }
  void attention_metric(const AttentionMetric& args) override { cpu::attention_metric(args); }

  void clip_factor(const Tensor& grads, double max_norm, const Tensor& control) override {
    cpu::clip_factor(grads, max_norm, control);
  }
  void update(const Update& args) override { cpu::update(args); }
  void directed_step(const DirectedStep& args) override { cpu::directed_step(args); }

 private:
  MemoryPools memory_{"cpu", allocate_block, [](void* block, std::size_t) { std::free(block); }};
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend() { return std::make_unique<CpuBackend>(); }

}  // namespace monge
