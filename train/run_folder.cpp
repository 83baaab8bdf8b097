#include "train/run_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace fs = std::filesystem;

namespace monge::train {

RunFolder::RunFolder(fs::path path, bool resume) : path_(std::move(path)) {
  std::error_code error;
  if (fs::exists(path_, error) && !fs::is_directory(path_, error)) {
    throw InputError(fmt::format("--out: '{}' is a file; give a directory", path_.string()));
  }
  if (!resume && fs::exists(path_, error) && !fs::is_empty(path_, error)) {
    throw InputError(fmt::format(
        "--out: '{}' is not empty; add --resume to continue that run, or give another directory", path_.string()));
  }
  path_ = fs::absolute(path_).lexically_normal();
  if (!path_.has_filename()) path_ = path_.parent_path();  // "runs/a/"
  for (fs::path p = path_; !fs::exists(p, error) && p != p.root_path(); p = p.parent_path()) first_made_ = p;
  fs::create_directories(path_, error);
  const fs::path probe = path_ / ".monge_probe";
  if (!error) {
    const int fd = ::open(probe.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) error = std::error_code(errno, std::generic_category());
    if (fd >= 0) ::close(fd);
    std::error_code ignored;
    fs::remove(probe, ignored);
  }
  if (error) {
    throw InputError(fmt::format("--out: cannot write to '{}': {}", path_.string(), error.message()));
  }
}

RunFolder::~RunFolder() {
  if (keep_ || first_made_.empty()) return;
  std::error_code error;
  for (fs::path p = path_; fs::remove(p, error) && p != first_made_;) p = p.parent_path();
}

fs::path next_run_path(const fs::path& config_file) {
  for (int n = 1;; ++n) {
    fs::path path = fs::path("runs") / fmt::format("{}-{}", config_file.stem().string(), n);
    if (!fs::exists(path)) return path;
  }
}

void write_text_file(const fs::path& file, const std::string& text) {
  const fs::path beside = file.string() + ".partial";
  const int fd = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
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
