// The emulated device: everything is done while it is asked for, in host memory.
#include "core/cuda/runtime.h"

#include <cstdlib>
#include <cstring>

#include "core/error.h"

namespace monge::simt {
namespace {

class QueuedGraph final : public Graph {
 public:
  explicit QueuedGraph(std::vector<Queue::Work> work) : work_(std::move(work)) {}
  void launch() override {
    for (const auto& work : work_) work();
  }

 private:
  std::vector<Queue::Work> work_;
};

}  // namespace

struct Runtime::Implementation {
  Queue queue;
};

Runtime::Runtime(int index) : implementation_(std::make_unique<Implementation>()), architecture_(80) {
  if (index != 0) throw InputError("there is one emulated device, cuda:0");
}
Runtime::~Runtime() = default;

std::string Runtime::description() const { return "emulated GPU"; }
Stream Runtime::stream() const { return &implementation_->queue; }

void* Runtime::allocate(std::size_t bytes) {
  require(!recording_, "[memory] a device has none to give during a recording");
  constexpr std::size_t alignment = 256;
  void* const block = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (block != nullptr) std::memset(block, 0xFF, bytes);  // NaN, as new memory of a device may hold anything
  return block;
}
void Runtime::release(void* block) {
  require(!recording_, "[memory] a device takes none back during a recording");
  std::free(block);
}

void Runtime::upload(const void* from, void* to, std::size_t bytes) {
  require(!recording_, "[copy_from_host] host data cannot be part of a recorded step");
  std::memcpy(to, from, bytes);
}
void Runtime::download(const void* from, void* to, std::size_t bytes) {
  synchronize();
  std::memcpy(to, from, bytes);
}
void Runtime::copy(const void* from, void* to, std::size_t bytes) {
  stream()->enqueue([=] { std::memcpy(to, from, bytes); });
}
void Runtime::zero(void* to, std::size_t bytes) {
  stream()->enqueue([=] { std::memset(to, 0, bytes); });
}
void Runtime::synchronize() { implementation_->queue.wait(); }

std::unique_ptr<Graph> Runtime::record(const std::function<void()>& enqueue) {
  Queue& queue = implementation_->queue;
  queue.start_recording();
  recording_ = true;
  try {
    enqueue();
  } catch (...) {
    recording_ = false;
    queue.stop_recording();
    throw;
  }
  recording_ = false;
  return std::make_unique<QueuedGraph>(queue.stop_recording());
}

}  // namespace monge::simt
