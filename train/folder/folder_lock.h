// FolderLock: who writes into a folder has it alone.
#pragma once

#include <filesystem>
#include <string>

#include "core/error.h"

namespace monge::train {

/// A folder that another writes into, or has written into.
class FolderTaken : public InputError {
 public:
  using InputError::InputError;
};

/// Held from the constructor to the destructor, or to the end of the process, whatever ends it: the lock is one of the
/// system on the file `.lock`, which a file server knows too (NFS), so that a dead process never holds it. The file
/// says who has it and since when. It is removed at the end, and so are the directories that were made for it and hold
/// nothing else by then; a file that was left behind is no obstacle.
class FolderLock {
 public:
  /// For a `work`, "run" or "comparison", in messages. Makes the folder where it is missing. Throws FolderTaken when
  /// another holds the lock, in this process or elsewhere, and InputError when the folder cannot be written.
  FolderLock(const std::filesystem::path& folder, std::string work);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  /// Absolute, without a slash at its end.
  const std::filesystem::path& folder() const { return folder_; }
  /// Whether the folder is where it was: not moved or removed, whatever is at its place now.
  bool is_in_place() const;
  /// Throws RunError unless it is.
  void check() const;
  /// Whether anyone holds the lock of a folder, here or on another machine. False on a file system without locks.
  static bool is_held(const std::filesystem::path& folder);
  /// Why nothing is locked, on a file system without locks; else empty.
  const std::string& warning() const { return warning_; }

  static constexpr const char* file_name = ".lock";

 private:
  bool lock();
  void release();
  void remove_made() const;

  std::filesystem::path folder_, file_;
  std::filesystem::path first_made_;  // the topmost directory that did not exist before; empty: all did
  std::string work_;
  int descriptor_ = -1;
  std::string warning_;
};

}  // namespace monge::train
