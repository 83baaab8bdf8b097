#include "train/folder/folder_lock.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace fs = std::filesystem;

namespace monge::train {
namespace {

std::string host() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "?";
}

/// What the file of a lock says.
std::string holder() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  return fmt::format("process {} on {} since {:%Y-%m-%d %H:%M:%S %z}", ::getpid(), host(), local);
}

std::string read_holder(int descriptor) {
  std::array<char, 400> text{};
  const ssize_t n = ::pread(descriptor, text.data(), text.size(), 0);
  std::string out(text.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  out.resize(std::min(out.size(), out.find('\n')));
  for (char& c : out) c = c >= ' ' && c <= '~' ? c : '?';
  return out.empty() ? "another process" : out;
}

bool has_no_locks(int error) { return error == ENOLCK || error == ENOSYS || error == EOPNOTSUPP || error == EINVAL; }

struct flock whole_file() {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  return whole;
}

}  // namespace

FolderLock::FolderLock(const fs::path& folder, std::string work)
    : folder_(fs::absolute(folder).lexically_normal()), work_(std::move(work)) {
  if (!folder_.has_filename()) folder_ = folder_.parent_path();  // "runs/a/"
  file_ = folder_ / file_name;
  std::error_code error;
  for (fs::path p = folder_; !fs::exists(p, error) && p != p.root_path(); p = p.parent_path()) first_made_ = p;
  // A holder that lets go removes the file, and perhaps the folder: then the next attempt makes another.
  for (int attempt = 0; attempt < 100; ++attempt) {
    if (lock()) return;
  }
  throw FolderTaken(fmt::format("--out: '{}' comes and goes; give another directory", folder_.string()));
}

bool FolderLock::lock() {
  const auto fail = [this](const std::string& why) {
    release();
    remove_made();
    throw InputError(fmt::format("--out: cannot write to '{}': {}", folder_.string(), why));
  };
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) fail(error.message());
  descriptor_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
  if (descriptor_ < 0) {
    if (errno == ENOENT) return false;
    fail(errno == ELOOP ? fmt::format("'{}' is a link; remove it", file_name) : std::strerror(errno));
  }
  struct flock whole = whole_file();
  // Of the open file, not of the process: two runs of one process are two.
  if (::fcntl(descriptor_, F_OFD_SETLK, &whole) != 0) {
    const int reason = errno;
    if (reason == EACCES || reason == EAGAIN) {
      const std::string who = read_holder(descriptor_);
      release();
      throw FolderTaken(fmt::format("--out: another {} is at work in '{}': {}; wait for it, or give another directory",
                                    work_, folder_.string(), who));
    }
    if (!has_no_locks(reason)) fail(fmt::format("no lock: {}", std::strerror(reason)));
    warning_ = fmt::format("'{}' is on a file system without locks ({}): see to it that nothing else writes there",
                           folder_.string(), std::strerror(reason));
  }
  if (!is_in_place()) {
    release();
    return false;  // what is locked is the file of a holder that has just let go
  }
  if (!fs::is_regular_file(fs::symlink_status(file_, error)))
    fail(fmt::format("'{}' is no plain file; remove it", file_name));
  const std::string text = holder() + "\n";
  // The lock holds without the text too, on a full disk. Other machines see what is flushed.
  if (::ftruncate(descriptor_, 0) == 0 && ::pwrite(descriptor_, text.data(), text.size(), 0) > 0) ::fsync(descriptor_);
  return true;
}

bool FolderLock::is_in_place() const {
  struct stat locked {
  }, named{};
  return ::fstat(descriptor_, &locked) == 0 && ::lstat(file_.c_str(), &named) == 0 && locked.st_ino == named.st_ino &&
         locked.st_dev == named.st_dev;
}

bool FolderLock::is_held(const fs::path& folder) {
  const int descriptor = ::open((folder / file_name).c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) return false;
  struct flock other = whole_file();
  const bool held = ::fcntl(descriptor, F_OFD_GETLK, &other) == 0 && other.l_type != F_UNLCK;
  ::close(descriptor);
  return held;
}

void FolderLock::check() const {
  if (is_in_place()) return;
  throw RunError(
      fmt::format("'{}' was moved or removed while this {} was at work there; what it has written is where the folder "
                  "is now, and nothing more is written. Put it back to continue",
                  folder_.string(), work_));
}

void FolderLock::release() {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
}

void FolderLock::remove_made() const {
  if (first_made_.empty()) return;
  std::error_code error;
  for (fs::path p = folder_; fs::remove(p, error) && p != first_made_;) p = p.parent_path();
}

FolderLock::~FolderLock() {
  const bool mine = is_in_place();  // else it is another's
  if (mine) ::unlink(file_.c_str());
  release();
  if (mine) remove_made();
}

}  // namespace monge::train
