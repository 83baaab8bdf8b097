// page/: how a report is written. It knows nothing of what was compared.
//
// Page: a report before it is HTML or Markdown, so that both say the same. Texts are plain; each writer escapes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tools/compare/report/page/plot.h"

namespace monge::compare {

struct Paragraph {
  std::string text;
};

struct Bullets {
  std::vector<std::string> items;
};

struct Heading {
  std::string text;
};

enum class Tone : std::uint8_t { plain, good, bad, quiet };

struct Cell {
  Cell(std::string text_, Tone tone_ = Tone::plain) : text(std::move(text_)), tone(tone_) {}  // NOLINT: texts are cells
  std::string text;
  Tone tone;
};

struct Column {
  std::string title;
  bool numbers = true;  // to be aligned as such
};

/// Rows of as many cells as columns; the first column names the row.
struct Grid {
  std::string caption;
  std::vector<Column> columns;
  std::vector<std::vector<Cell>> rows;
  std::vector<std::string> details;  // when not empty: for each row, what stands in a line of its own below it
  std::string fold;                  // when not empty: hidden until this is opened
};

/// A line of plots: how it is drawn (plot.h), and what it shows.
struct Series {
  std::size_t number = 0;
  std::string name;
  bool operator==(const Series&) const = default;
};
using Legend = std::vector<Series>;

/// The same things drawn in one or more ways, of which a reader sees one at a time.
struct Figure {
  struct View {
    std::string label;
    Plot plot;
  };
  std::string caption;
  std::vector<View> views;
  Legend legend;
};

/// Drawn beside each other where there is room.
struct Figures {
  std::vector<Figure> figures;
  Legend legend;  // of all of them
};

/// Literal text, hidden until opened.
struct Listing {
  std::string title, text;
};

/// `error`: the ranking it names is not fair or not finished. `warning`: read the numbers with this in mind. `note`:
/// what the numbers cannot say.
enum class Severity : std::uint8_t { error, warning, note };
std::string_view severity_name(Severity severity);

struct Lint {
  Severity severity = Severity::note;
  std::string text;  // what is the case, what it means, what to do
};

using Block = std::variant<Paragraph, Bullets, Heading, Grid, Figures, Listing, std::vector<Lint>>;

struct Section {
  std::string title;
  std::vector<Block> blocks;
};

struct Page {
  std::string title;
  std::vector<Block> summary;
  std::vector<Section> sections;
};

/// A file that needs nothing but itself. Draws the plots: throws RunError where gnuplot is missing.
std::string to_html(const Page& page);
/// Everything but the plots.
std::string to_markdown(const Page& page);

}  // namespace monge::compare
