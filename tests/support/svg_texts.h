// What an SVG document says in words.
#pragma once

#include <regex>
#include <string>
#include <vector>

namespace monge::test {

inline std::vector<std::string> svg_texts(const std::string& svg) {
  const std::regex text(R"(>\s*([^<>]*\S)\s*</t(?:ext|span)>)");
  std::vector<std::string> texts;
  for (std::sregex_iterator match(svg.begin(), svg.end(), text), end; match != end; ++match)
    texts.push_back((*match)[1]);
  return texts;
}

}  // namespace monge::test
