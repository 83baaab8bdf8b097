// Text files that `data.path` names.
#pragma once

#include <string>

namespace monge::train {

/// Appends the bytes of a file to `text`. Throws InputError for one that is missing, empty, a folder or unreadable.
void append_text_file(const std::string& path, std::string& text);

}  // namespace monge::train
