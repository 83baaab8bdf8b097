#include "train/data/text_file.h"

#include <array>
#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "train/console/interrupt.h"

namespace monge::train {

namespace fs = std::filesystem;

void append_text_file(const std::string& path, std::string& text) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    const bool shipped = fs::path(path).filename() == "shakespeare.txt";
    throw InputError(fmt::format("data.path: there is no file '{}'{}", fs::absolute(path).string(),
                                 shipped                        ? "; bash tools/get_data.sh fetches it"
                                 : fs::path(path).is_relative() ? "; a relative path counts from the working directory"
                                                                : ""));
  }
  if (fs::is_directory(status)) {
    throw InputError(fmt::format("data.path: '{}' is a folder; name a text file, or a list of them", path));
  }
  std::ifstream file(path, std::ios::binary);
  const std::size_t before = text.size();
  if (const auto bytes = fs::file_size(path, error); !error) text.reserve(before + bytes);
  std::array<char, 1 << 16> part;
  while (file.read(part.data(), part.size()), file.gcount() > 0) {
    stop_here_if_interrupted();
    text.append(part.data(), static_cast<std::size_t>(file.gcount()));
  }
  if (!file.eof()) throw InputError(fmt::format("data.path: '{}' cannot be read; check its permissions", path));
  if (text.size() == before) throw InputError(fmt::format("data.path: '{}' is empty", path));
}

}  // namespace monge::train
