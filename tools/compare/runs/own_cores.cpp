#include "tools/compare/runs/own_cores.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace fs = std::filesystem;

namespace monge::compare {
namespace {

/// Where all processes of this user look, and no one else writes; empty: nowhere.
fs::path shared_directory() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  const bool has_runtime = runtime != nullptr && *runtime != '\0' && ::access(runtime, W_OK | X_OK) == 0;
  const fs::path path = has_runtime ? fs::path(runtime) / "monge" : fs::path(fmt::format("/tmp/monge-{}", ::getuid()));
  ::mkdir(path.c_str(), 0700);
  struct stat info {};
  const bool mine = ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == ::getuid();
  return mine ? path : fs::path();
}

/// Those that this process may run on.
std::vector<int> allowed_cores() {
  cpu_set_t set;
  std::vector<int> out;
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return out;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) out.push_back(core);
  }
  return out;
}

}  // namespace

OwnCores::OwnCores(std::size_t count) {
  const std::vector<int> allowed = allowed_cores();
  if (count > allowed.size()) return;
  const fs::path directory = shared_directory();
  if (directory.empty()) return;
  for (const int core : allowed) {
    if (cores_.size() < count && claim(directory, core)) cores_.push_back(core);
  }
  if (cores_.size() < count) release();
}

OwnCores::~OwnCores() { release(); }

bool OwnCores::claim(const fs::path& directory, int core) {
  const fs::path file = directory / fmt::format("core-{}", core);
  const int descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (descriptor < 0) return false;
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    ::close(descriptor);
    return false;
  }
  descriptors_.push_back(descriptor);
  return true;
}

void OwnCores::release() {
  for (const int descriptor : descriptors_) {
    ::flock(descriptor, LOCK_UN);  // a child between fork and exec still has the file open
    ::close(descriptor);
  }
  descriptors_.clear();
  cores_.clear();
}

}  // namespace monge::compare
