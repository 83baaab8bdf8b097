// TuningFile: choices made by timing, kept in a JSON file so that later runs make the same ones.
//
//   {"NVIDIA H200, cuBLASLt 13.1.0": {"128x64x32 ...": "choice", ...}, ...}
//
// A choice holds only for the device and library it was made on: its section. A damaged file counts as empty and is
// replaced at the next choice.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "core/cuda/gpu.h"

namespace monge::MONGE_GPU {

class TuningFile {
 public:
  TuningFile() = default;  // remembers nothing
  TuningFile(std::filesystem::path path, std::string section);

  std::optional<std::string> find(const std::string& key) const;
  /// Written beside and renamed, with what other processes have added meanwhile; a disk error ends in note().
  void remember(const std::string& key, const std::string& choice);

  /// What was wrong with the file, for people; empty if nothing.
  const std::string& note() const { return note_; }

 private:
  using Sections = std::map<std::string, std::map<std::string, std::string>>;
  Sections read();

  std::filesystem::path path_;
  std::string section_;
  std::map<std::string, std::string> choices_;
  std::string note_;
};

}  // namespace monge::MONGE_GPU
