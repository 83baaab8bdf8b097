// RunFolder: the directory of one training run.
//
//   config.yaml     the resolved configuration
//   metrics.jsonl   one JSON object per line
//   checkpoints/    step_00000300/ ..., best -> step_00000250
//   sample.txt      text generated at the end
//   summary.json    what the run has come to (run_summary.h), written last
//   error.txt       why it could not go on, until it does
//   events.out.tfevents.*.monge   the metrics for TensorBoard, where they are asked for (event_file.h)
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "train/folder/folder_lock.h"

namespace monge::train {

class RunFolder {
 public:
  /// Claims `path` for a run until the end (folder_lock.h). Throws InputError when another run has it, when it cannot
  /// be written, when it holds something and `resume` is false, and when something that is not of a run, a link among
  /// others, has the name of a file that a run writes. A run that cannot start leaves nothing behind, unless it was
  /// told to resume.
  RunFolder(const std::filesystem::path& path, bool resume);
  /// Claims "runs/<name of the config file>-<n>" with the first free n.
  static std::unique_ptr<RunFolder> next(const std::filesystem::path& config_file);

  /// Whether the run that it may hold is continued.
  bool resume() const { return resume_; }
  /// Before anything is written later on: FolderLock::check.
  void check() const { lock_.check(); }
  /// What users should know of it; empty: nothing.
  const std::string& warning() const { return lock_.warning(); }

  /// Leaves `text` for those who find the folder. Not where the summary says how the run ended, nor in a folder that
  /// holds no run and should not be resumed. On a full disk the file is empty.
  void record_error(const std::string& text) const noexcept;

  const std::filesystem::path& path() const { return lock_.folder(); }
  std::filesystem::path config() const { return path() / "config.yaml"; }
  std::filesystem::path metrics() const { return path() / "metrics.jsonl"; }
  std::filesystem::path checkpoints() const { return path() / "checkpoints"; }
  std::filesystem::path sample() const { return path() / "sample.txt"; }
  std::filesystem::path summary() const { return path() / "summary.json"; }
  std::filesystem::path error() const { return path() / "error.txt"; }

 private:
  void check_names() const;

  FolderLock lock_;
  bool resume_;
};

/// Writes a small text file in one step: beside, flushed, renamed. Throws RunError.
void write_text_file(const std::filesystem::path& file, const std::string& text);

/// Throws RunError with the system's reason when the directory entry cannot be flushed to the disk.
void flush_directory(const std::filesystem::path& directory);

}  // namespace monge::train
