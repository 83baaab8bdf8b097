#include "tools/interop/new_folder.h"

#include <fmt/format.h>
#include <unistd.h>

#include "core/error.h"
#include "train/folder/run_folder.h"

namespace fs = std::filesystem;

namespace monge::tools {

NewFolder::NewFolder(const fs::path& folder) : folder_(fs::absolute(folder).lexically_normal()) {
  if (!folder_.has_filename()) folder_ = folder_.parent_path();
  std::error_code error;
  if (fs::symlink_status(folder_, error).type() != fs::file_type::not_found) {
    throw InputError(fmt::format("there is something at {}; name a folder that is not there yet", folder.string()));
  }
  partial_ = folder_.parent_path() / fmt::format(".{}.{}.partial", folder_.filename().string(), ::getpid());
  fs::remove_all(partial_, error);
  fs::create_directories(partial_, error);
  if (error) {
    throw RunError(fmt::format("cannot make a folder in {}: {}", partial_.parent_path().string(), error.message()));
  }
}

NewFolder::~NewFolder() {
  std::error_code ignored;
  fs::remove_all(partial_, ignored);
}

void NewFolder::finish() const {
  train::flush_directory(partial_);
  std::error_code error;
  fs::rename(partial_, folder_, error);
  if (error) throw RunError(fmt::format("cannot make {}: {}", folder_.string(), error.message()));
  train::flush_directory(folder_.parent_path());
}

}  // namespace monge::tools
