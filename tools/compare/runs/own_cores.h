// OwnCores: processor cores that no other comparison of this user on this machine uses for its runs.
//
// A claim is a lock of the system on a file for each core, in a directory that the user's processes share: it ends with
// its process, whatever ends it. Programs that claim nothing are not kept away.
#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

namespace monge::compare {

class OwnCores {
 public:
  /// Claims `count` of the cores that this process may run on, until the end; none where fewer are free.
  explicit OwnCores(std::size_t count);
  ~OwnCores();
  OwnCores(const OwnCores&) = delete;
  OwnCores& operator=(const OwnCores&) = delete;

  /// As many as asked for, or none.
  const std::vector<int>& cores() const { return cores_; }

 private:
  /// Whether nobody else has it.
  bool claim(const std::filesystem::path& directory, int core);
  void release();

  std::vector<int> cores_;
  std::vector<int> descriptors_;  // of the locked files
};

}  // namespace monge::compare
