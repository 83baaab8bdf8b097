// NewFolder: a folder that appears under its name once everything is in it.
#pragma once

#include <filesystem>

namespace monge::tools {

class NewFolder {
 public:
  /// Throws InputError where there is something at `folder`, RunError when nothing can be made beside it.
  explicit NewFolder(const std::filesystem::path& folder);
  /// Nothing is left of it without finish().
  ~NewFolder();
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

  /// Where its files go until then.
  std::filesystem::path operator/(const std::string& name) const { return partial_ / name; }
  const std::filesystem::path& partial() const { return partial_; }
  /// Throws RunError.
  void finish() const;

 private:
  std::filesystem::path folder_, partial_;
};

}  // namespace monge::tools
