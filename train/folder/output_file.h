// OutputFile: a file that a user has named for something to be written to.
#pragma once

#include <filesystem>
#include <span>
#include <string>

namespace monge::train {

/// Found out before any work: nothing is written until write().
class OutputFile {
 public:
  /// `option` is what names the file, in messages. Throws InputError when `named` is something else than a plain file
  /// (a folder, a device), when it is one of the files that are `read`, and when its folder cannot be written. A link
  /// stands for what it leads to.
  OutputFile(const std::string& option, const std::filesystem::path& named,
             std::span<const std::filesystem::path> read = {});

  const std::filesystem::path& path() const { return path_; }
  /// In one step, as write_text_file does. Throws RunError.
  void write(const std::string& text) const;

 private:
  std::filesystem::path path_;
};

}  // namespace monge::train
