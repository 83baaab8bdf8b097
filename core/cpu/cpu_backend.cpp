#include "core/cpu/cpu_backend.h"

#include <sys/mman.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "core/control_groups.h"
#include "core/cpu/onednn.h"
#include "core/cpu/parallel.h"
#include "core/error.h"

namespace monge::cpu {
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

/// Bytes. The system would promise more than this, and end the process when it is used.
std::size_t memory_limit() {
  struct sysinfo info {};
  if (::sysinfo(&info) != 0) return 0;
  const std::size_t machine = (static_cast<std::size_t>(info.totalram) + info.totalswap) * info.mem_unit;
  return std::min<std::size_t>(machine, memory_quota().value_or(machine));
}

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

}  // namespace

CpuBackend::CpuBackend() : memory_("cpu", allocate_block, [](void* block, std::size_t) { std::free(block); }) {
  memory_.set_limit(memory_limit());
}

std::string CpuBackend::description() const {
  const int threads = thread_count();
  return fmt::format("{}, {}, {} thread{}, {}", processor_name(), simd_target(), threads, threads == 1 ? "" : "s",
                     onednn_version());
}

std::vector<std::string> CpuBackend::notes() const {
  if (!has_widened_products_) return {};
  return {
      "this processor has no bf16 arithmetic: products are computed in f32, on copies. That is slower than float32"};
}

}  // namespace monge::cpu

namespace monge {

std::unique_ptr<Backend> make_cpu_backend() { return std::make_unique<cpu::CpuBackend>(); }

}  // namespace monge
