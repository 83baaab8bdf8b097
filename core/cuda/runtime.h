// Runtime: one device as the backend uses it: its memory, the stream that computes, and the way of host data to it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/cuda/gpu.h"

namespace monge::MONGE_GPU {

/// The work that a call of Runtime::record has enqueued, to be enqueued again.
class Graph {
 public:
  virtual ~Graph() = default;
  virtual void launch() = 0;
};

class Runtime {
 public:
  /// Throws InputError when the device is not there or cannot run this build; the message has the versions of driver
  /// and toolkit and what to do.
  explicit Runtime(int index);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  /// One line for people: name, multiprocessors, memory, versions.
  std::string description() const;
  /// 10 * major + minor of the compute capability.
  int architecture() const { return architecture_; }
  /// The stream that computes; its device is then the current one.
  Stream stream() const;
  /// CUDA's libraries mean the current device, and another backend or thread may have chosen another one.
  void make_current() const;

  /// Device memory, aligned to 256 bytes; nullptr when there is none left.
  void* allocate(std::size_t bytes);
  void release(void* block);

  /// Host to device, in the order of the stream. The host memory may be reused on return.
  void upload(const void* from, void* to, std::size_t bytes);
  /// Device to host; waits.
  void download(const void* from, void* to, std::size_t bytes);
  /// Device to device.
  void copy(const void* from, void* to, std::size_t bytes);
  void zero(void* to, std::size_t bytes);
  void synchronize();

  /// Records what `enqueue` puts on the stream, without running it. Uploads cannot be recorded.
  std::unique_ptr<Graph> capture(const std::function<void()>& enqueue);
  bool capturing() const { return capturing_; }

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
  int architecture_ = 0;
  bool capturing_ = false;
};

}  // namespace monge::MONGE_GPU
