// Page as Markdown with pipe tables.
#include <fmt/format.h>

#include "tools/compare/report/page/page.h"

namespace monge::compare {
namespace {

/// Text in a line: what Markdown or HTML would read as markup is escaped.
std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '&': result += "&amp;"; break;
      case '\n': result += ' '; break;
      case '|':
      case '*':
      case '_':
      case '`':
      case '[':
      case ']':
      case '\\': result += '\\'; [[fallthrough]];
      default: result += c;
    }
  }
  return result;
}

/// A fence longer than any run of backticks inside.
std::string fence_for(const std::string& text) {
  std::string fence = "```";
  while (text.find(fence) != std::string::npos) fence += '`';
  return fence;
}

struct MarkdownWriter {
  std::string out;

  void operator()(const Paragraph& paragraph) { out += escaped(paragraph.text) + "\n\n"; }
  void operator()(const Bullets& bullets) {
    for (const std::string& item : bullets.items) out += fmt::format("- {}\n", escaped(item));
    out += "\n";
  }
  void operator()(const Heading& heading) { out += fmt::format("### {}\n\n", escaped(heading.text)); }
  void operator()(const std::vector<Lint>& lints) {
    for (const Lint& lint : lints)
      out += fmt::format("- **{}** {}\n", severity_name(lint.severity), escaped(lint.text));
    out += "\n";
  }
  void operator()(const Figures&) {}
  void operator()(const Listing& listing) {
    const std::string fence = fence_for(listing.text);
    out += fmt::format("{}:\n\n{}\n{}\n{}\n\n", escaped(listing.title), fence, listing.text, fence);
  }
  void operator()(const Grid& grid) {
    const std::string& caption = grid.caption.empty() ? grid.fold : grid.caption;
    if (!caption.empty()) out += fmt::format("**{}**\n\n", escaped(caption));
    for (const Column& column : grid.columns) out += fmt::format("| {} ", escaped(column.title));
    if (!grid.details.empty()) out += "| details ";
    out += "|\n";
    for (const Column& column : grid.columns) out += column.numbers ? "|---:" : "|---";
    out += grid.details.empty() ? "|\n" : "|---|\n";
    for (std::size_t i = 0; i < grid.rows.size(); ++i) {
      for (const Cell& cell : grid.rows[i]) out += fmt::format("| {} ", escaped(cell.text));
      if (!grid.details.empty()) out += fmt::format("| {} ", escaped(grid.details[i]));
      out += "|\n";
    }
    out += "\n";
  }
};

}  // namespace

std::string to_markdown(const Page& page) {
  MarkdownWriter writer{fmt::format("# {}\n\n", escaped(page.title))};
  for (const Block& block : page.summary) std::visit(writer, block);
  for (const Section& section : page.sections) {
    writer.out += fmt::format("## {}\n\n", escaped(section.title));
    for (const Block& block : section.blocks) std::visit(writer, block);
  }
  return std::move(writer.out);
}

}  // namespace monge::compare
