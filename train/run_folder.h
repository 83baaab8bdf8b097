// RunFolder: the directory of one training run.
//
//   config.yaml     the resolved configuration
//   metrics.jsonl   one JSON object per line
//   checkpoints/    step_00000300/ ..., best -> step_00000250
//   sample.txt      text generated at the end
//   summary.json    what the run has come to (run_summary.h), written last
#pragma once

#include <filesystem>
#include <string>

namespace monge::train {

class RunFolder {
 public:
  /// Claims `path` for a run: makes the directory where it is missing and tries to write there. Throws InputError when
  /// that fails, or when the directory holds something and `resume` is false.
  RunFolder(std::filesystem::path path, bool resume);
  /// Removes the directories that the constructor made, when keep() was not called: a run that cannot start leaves
  /// nothing behind.
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;
  void keep() { keep_ = true; }

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "config.yaml"; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path sample() const { return path_ / "sample.txt"; }
  std::filesystem::path summary() const { return path_ / "summary.json"; }

 private:
  std::filesystem::path path_;
  std::filesystem::path first_made_;  // topmost directory that did not exist before; empty: all did
  bool keep_ = false;
};

/// "runs/<name of the config file>-<n>" with the first free n.
std::filesystem::path next_run_path(const std::filesystem::path& config_file);

/// Writes a small text file in one step: beside, flushed, renamed. Throws RunError.
void write_text_file(const std::filesystem::path& file, const std::string& text);

/// Throws RunError with the system's reason when the directory entry cannot be flushed to the disk.
void flush_directory(const std::filesystem::path& directory);

}  // namespace monge::train
