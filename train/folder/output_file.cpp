#include "train/folder/output_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "train/folder/run_folder.h"

namespace fs = std::filesystem;

namespace monge::train {

OutputFile::OutputFile(const std::string& option, const fs::path& named, std::span<const fs::path> read) {
  const auto refuse = [&](const std::string& why) {
    throw InputError(fmt::format("{}: cannot write {}: {}", option, named.string(), why));
  };
  std::error_code error;
  path_ = fs::weakly_canonical(fs::absolute(named, error), error);
  if (named.empty() || error) refuse("it is no name of a file");
  const fs::file_status status = fs::status(path_, error);
  if (fs::is_symlink(path_, error)) refuse("it is a link that leads nowhere; name another file");
  if (fs::is_directory(status)) refuse(std::strerror(EISDIR));
  if (fs::exists(status) && !fs::is_regular_file(status)) refuse("it is no plain file; name another one");
  for (const fs::path& other : read) {
    if (fs::equivalent(path_, other, error)) refuse("it is read by the same command; name another file");
  }
  if (::access(path_.parent_path().c_str(), W_OK | X_OK) != 0) refuse(std::strerror(errno));
}

void OutputFile::write(const std::string& text) const { write_text_file(path_, text); }

}  // namespace monge::train
