#include "core/cuda/cuda_backend.h"

#include "core/cuda/cudnn/sdpa.h"
#include "core/cuda/make_backend.h"
#include "core/cuda/products/products.h"
#include "core/error.h"

namespace monge::MONGE_GPU {
namespace {

class CudaGraphCalls final : public CapturedCalls {
 public:
  CudaGraphCalls(std::unique_ptr<Graph> graph, std::shared_ptr<void> memory)
      : graph_(std::move(graph)), memory_(std::move(memory)) {}
  void replay() override { graph_->launch(); }

 private:
  std::unique_ptr<Graph> graph_;
  std::shared_ptr<void> memory_;
};

}  // namespace

CudaBackend::CudaBackend(int index) : CudaBackend(index, Sdpa::usual_score_bytes) {}

CudaBackend::CudaBackend(int index, std::int64_t most_score_bytes)
    : index_(index),
      runtime_(index),
      memory_(
          Device{DeviceKind::cuda, index}.str(), [this](std::size_t bytes) { return runtime_.allocate(bytes); },
          [this](void* block, std::size_t) {
            runtime_.synchronize();  // kernels that were asked for may still use it
            runtime_.release(block);
          }),
      products_(std::make_unique<Products>(runtime_, memory_)),
      sdpa_(std::make_unique<Sdpa>(runtime_, memory_, most_score_bytes)) {}

CudaBackend::~CudaBackend() = default;

std::string CudaBackend::description() const {
  return fmt::format("{}, {}, {}", runtime_.description(), products_->version(), sdpa_->version());
}

void CudaBackend::configure(const GpuSettings& settings) {
  notes_.clear();
  if (settings == settings_) return;  // what has been chosen and tuned stays
  settings_ = settings;
  products_->configure({.allow_tf32 = settings.tf32, .tune = settings.tune, .tuning_file = settings.tuning_file});
}

std::vector<std::string> CudaBackend::notes() const {
  std::vector<std::string> out(notes_.begin(), notes_.end());
  if (!products_->note().empty()) out.push_back(products_->note());
  return out;
}

std::unique_ptr<CapturedCalls> CudaBackend::capture(const std::function<void()>& calls) {
  const MemoryPools::Capture memory(memory_);
  std::unique_ptr<Graph> graph = runtime_.capture(calls);
  graph->launch();
  return std::make_unique<CudaGraphCalls>(std::move(graph), memory.blocks());
}

std::unique_ptr<Backend> make_backend(int index) { return std::make_unique<CudaBackend>(index); }

}  // namespace monge::MONGE_GPU
