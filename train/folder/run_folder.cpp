#include "train/folder/run_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace fs = std::filesystem;

namespace monge::train {

namespace {

/// The same path, which may be that of a folder.
const fs::path& not_a_file(const fs::path& path) {
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_directory(path, error)) {
    throw InputError(fmt::format("--out: '{}' is a file; give a directory", path.string()));
  }
  return path;
}

bool holds_nothing(const fs::path& folder) {
  std::error_code error;
  return std::ranges::all_of(fs::directory_iterator(folder, error),
                             [](const auto& entry) { return entry.path().filename() == FolderLock::file_name; });
}

const char* name_of(fs::file_type type) {
  switch (type) {
    case fs::file_type::regular: return "file";
    case fs::file_type::directory: return "directory";
    case fs::file_type::symlink: return "link";
    default: return "special file";
  }
}

/// Throws InputError when there is something at `path` that is not of this type.
void expect_type(const fs::path& path, fs::file_type type) {
  std::error_code error;
  const fs::file_type there = fs::symlink_status(path, error).type();
  if (there == type || there == fs::file_type::not_found || there == fs::file_type::none) return;
  throw InputError(fmt::format("--out: '{}' is a {}, and a run has a {} there; remove it, or give another directory",
                               path.string(), name_of(there), name_of(type)));
}

}  // namespace

RunFolder::RunFolder(const fs::path& path, bool resume) : lock_(not_a_file(path), "run"), resume_(resume) {
  if (!resume && !holds_nothing(path)) {
    throw FolderTaken(fmt::format(
        "--out: '{}' is not empty; add --resume to continue that run, or give another directory", path.string()));
  }
  check_names();
  std::error_code ignored;
  fs::remove(error(), ignored);
}

void RunFolder::record_error(const std::string& text) const noexcept {
  std::error_code unknown;
  const bool run_is_here = resume_ || fs::exists(config(), unknown);
  if (!lock_.is_in_place() || !run_is_here || fs::exists(summary(), unknown)) return;
  try {
    write_text_file(error(), text);
  } catch (const std::exception&) {
    const int fd = ::open(error().c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd >= 0) ::close(fd);
  }
}

void RunFolder::check_names() const {
  for (const fs::path& file : {config(), metrics(), sample(), summary(), error()})
    expect_type(file, fs::file_type::regular);
  expect_type(checkpoints(), fs::file_type::directory);
  expect_type(checkpoints() / "best", fs::file_type::symlink);
  std::error_code error;
  if (fs::exists(checkpoints(), error) && ::access(checkpoints().c_str(), W_OK | X_OK) != 0) {
    throw InputError(fmt::format("--out: cannot write to '{}': {}", checkpoints().string(), std::strerror(errno)));
  }
}

std::unique_ptr<RunFolder> RunFolder::next(const fs::path& config_file) {
  for (int n = 1;; ++n) {
    const fs::path path = fs::path("runs") / fmt::format("{}-{}", config_file.stem().string(), n);
    std::error_code error;
    if (fs::exists(path, error)) continue;
    try {
      return std::make_unique<RunFolder>(path, /*resume=*/false);
    } catch (const FolderTaken&) {
      continue;  // by a run that looked at the same time
    }
  }
}

void write_text_file(const fs::path& file, const std::string& text) {
  const fs::path beside = file.string() + ".partial";
  ::unlink(beside.c_str());  // of a killed process; a link would lead elsewhere
  const int fd = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  bool ok = fd >= 0;
  for (std::size_t written = 0; ok && written < text.size();) {
    const ssize_t n = ::write(fd, text.data() + written, text.size() - written);
    if (n < 0 && errno == EINTR) continue;
    ok = n >= 0;
    if (ok) written += static_cast<std::size_t>(n);
  }
  ok = ok && ::fsync(fd) == 0;
  int reason = errno;
  if (fd >= 0 && ::close(fd) != 0 && ok) {
    ok = false;
    reason = errno;
  }
  if (ok && ::rename(beside.c_str(), file.c_str()) != 0) {
    ok = false;
    reason = errno;
  }
  if (!ok) {
    std::error_code ignored;
    fs::remove(beside, ignored);
    throw RunError(fmt::format("cannot write '{}': {}", file.string(), std::strerror(reason)));
  }
}

void flush_directory(const fs::path& directory) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw RunError(fmt::format("cannot open '{}': {}", directory.string(), std::strerror(errno)));
  ::fsync(fd);  // some file systems refuse this for directories: then there is nothing to flush
  ::close(fd);
}

}  // namespace monge::train
