// The memory of the emulated device. The host cannot touch it, as it cannot touch that of a real one: an access outside
// of the device's own work ends the program.
#pragma once

#include <cstddef>
#include <map>

namespace monge::simt {

class DeviceMemory {
 public:
  DeviceMemory();

  /// Aligned to 256 bytes and filled with NaN (bytes 0xFF); null when there are no addresses left.
  void* take(std::size_t bytes);
  /// False when no such block was taken.
  bool give_back(void* block);
  /// Whether the bytes lie in one block.
  bool holds(const void* from, std::size_t bytes) const;
  std::size_t bytes_taken() const { return taken_; }

  /// The device is at work: while one of these lives, its memory is open.
  class Access {
   public:
    Access();
    ~Access();
    Access(const Access&) = delete;
    Access& operator=(const Access&) = delete;
  };

 private:
  using Ranges = std::map<std::size_t, std::size_t>;  // place -> size, in bytes from begin_
  void protect(int protection) const;

  std::byte* begin_ = nullptr;
  std::size_t top_ = 0;  // end of all blocks so far
  std::size_t taken_ = 0;
  Ranges blocks_, gaps_;
  int accesses_ = 0;
};

DeviceMemory& device_memory();

}  // namespace monge::simt
