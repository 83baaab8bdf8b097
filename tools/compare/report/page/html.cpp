// Page as one HTML file: no script, nothing from elsewhere. Views of a figure are chosen by radio buttons and CSS.
#include <fmt/format.h>

#include <set>
#include <string_view>

#include "tools/compare/report/page/page.h"
#include "tools/compare/report/page/style.h"
#include "tools/compare/report/page/wording.h"

namespace monge::compare {
namespace {

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '&': result += "&amp;"; break;
      case '"': result += "&quot;"; break;
      case '\'': result += "&#39;"; break;
      default: result += c;
    }
  }
  return result;
}

std::string colours(const Theme& theme, std::string_view panel, std::string_view good, std::string_view bad) {
  std::string css = fmt::format("--paper:{};--ink:{};--quiet:{};--grid:{};--panel:{};--good:{};--bad:{};", theme.paper,
                                theme.ink, theme.quiet, theme.grid, panel, good, bad);
  for (std::size_t i = 0; i < theme.series.size(); ++i) css += fmt::format("--series-{}:{};", i, theme.series[i]);
  return css;
}

std::string head(const std::string& title) {
  const std::string light = colours(light_theme(), "#f4f6f8", "#00694f", "#a3122a");
  const std::string dark = colours(dark_theme(), "#1e2328", "#4cd9ab", "#ff8a94");
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n:root {{{}}}\n"
      "@media screen and (prefers-color-scheme: dark) {{ :root {{{}}} }}\n{}{}</style>\n</head>\n",
      escaped(title), light, dark, style, plot_css());
}

class HtmlWriter {
 public:
  std::string out;

  void operator()(const Paragraph& paragraph) { out += fmt::format("<p>{}</p>\n", escaped(paragraph.text)); }

  void operator()(const Bullets& bullets) {
    out += "<ul>\n";
    for (const std::string& item : bullets.items) out += fmt::format("<li>{}</li>\n", escaped(item));
    out += "</ul>\n";
  }

  void operator()(const Heading& heading) { out += fmt::format("<h3>{}</h3>\n", escaped(heading.text)); }

  /// Notes are behind the rest: they limit what may be concluded, but nothing is wrong.
  void operator()(const std::vector<Lint>& lints) {
    std::string shown, notes;
    std::size_t number_of_notes = 0;
    for (const Lint& lint : lints) {
      const std::string_view name = severity_name(lint.severity);
      const bool note = lint.severity == Severity::note;
      number_of_notes += note ? 1 : 0;
      (note ? notes : shown) += fmt::format("<li class=\"{}\"><b>{}</b> {}</li>\n", name, name, escaped(lint.text));
    }
    if (!shown.empty()) out += fmt::format("<ul class=\"lints\">\n{}</ul>\n", shown);
    if (!notes.empty()) {
      out += fmt::format("<details><summary>{}</summary>\n<ul class=\"lints\">\n{}</ul>\n</details>\n",
                         count(number_of_notes, "note"), notes);
    }
  }

  void operator()(const Listing& listing) {
    out += fmt::format("<details><summary>{}</summary>\n<pre>{}</pre>\n</details>\n", escaped(listing.title),
                       escaped(listing.text));
  }

  void operator()(const Grid& grid) {
    if (!grid.fold.empty()) out += fmt::format("<details><summary>{}</summary>\n", escaped(grid.fold));
    out += "<div class=\"scroll\" tabindex=\"0\">\n<table>\n";
    if (!grid.caption.empty()) out += fmt::format("<caption>{}</caption>\n", escaped(grid.caption));
    out += "<thead><tr>";
    for (const Column& column : grid.columns) {
      out +=
          fmt::format("<th scope=\"col\"{}>{}</th>", column.numbers ? " class=\"number\"" : "", escaped(column.title));
    }
    out += "</tr></thead>\n<tbody>\n";
    for (std::size_t i = 0; i < grid.rows.size(); ++i) {
      write_row(grid, grid.rows[i]);
      if (grid.details.empty()) continue;
      out += fmt::format("<tr class=\"detail\"><td></td><td colspan=\"{}\">{}</td></tr>\n", grid.columns.size() - 1,
                         escaped(grid.details[i]));
    }
    out += "</tbody>\n</table>\n</div>\n";
    if (!grid.fold.empty()) out += "</details>\n";
  }

  void operator()(const Figures& block) {
    write_legend(block.legend);
    out += "<div class=\"figures\">\n";
    for (const Figure& figure : block.figures) {
      out += "<figure>";
      if (!figure.caption.empty()) out += fmt::format("<figcaption>{}</figcaption>\n", escaped(figure.caption));
      write_legend(figure.legend);
      const std::string name = fmt::format("figure-{}", ++figures_);
      if (figure.views.size() == 1) {
        write_plot(figure.views.front().plot, name);
      } else {
        write_views(figure, name);
      }
      out += "</figure>\n";
    }
    out += "</div>\n";
  }

 private:
  void write_row(const Grid& grid, const std::vector<Cell>& row) {
    constexpr std::size_t long_text = 48;  // bytes that are allowed to wrap
    out += fmt::format("<tr><th scope=\"row\">{}</th>", escaped(row.front().text));
    for (std::size_t i = 1; i < row.size(); ++i) {
      std::string classes = grid.columns[i].numbers ? "number" : "";
      if (!grid.columns[i].numbers && row[i].text.size() > long_text) classes = "long";
      switch (row[i].tone) {
        case Tone::plain: break;
        case Tone::good: classes += " good"; break;
        case Tone::bad: classes += " bad"; break;
        case Tone::quiet: classes += " quiet"; break;
      }
      out += classes.empty() ? "<td>" : fmt::format("<td class=\"{}\">", classes);
      out += escaped(row[i].text) + "</td>";
    }
    out += "</tr>\n";
  }

  /// The sample of a series is drawn where it is first needed, and used again later.
  void write_legend(const Legend& legend) {
    if (legend.empty()) return;
    out += "<ul class=\"legend\">\n";
    for (const Series& series : legend) {
      const Plot sample = sample_of(series.number);
      const std::string id = fmt::format("series-{}", series.number);
      const bool first = samples_.insert(series.number).second;
      const std::string drawn =
          first
              ? draw(sample, id)
              : fmt::format("<svg viewBox=\"0 0 {} {}\" aria-hidden=\"true\"><use href=\"#{}-gnuplot_canvas\"/></svg>",
                            sample.width, sample.height, id);
      out += fmt::format("<li>{}{}</li>\n", drawn, escaped(series.name));
    }
    out += "</ul>\n";
  }

  void write_plot(const Plot& plot, const std::string& id) {
    out += fmt::format("<div role=\"img\" aria-label=\"{}\">\n{}</div>\n", escaped(plot.about), draw(plot, id));
  }

  void write_views(const Figure& figure, const std::string& name) {
    out += "<div class=\"views\">\n";
    for (std::size_t i = 0; i < figure.views.size(); ++i) {
      const std::string id = fmt::format("{}-{}", name, i + 1);
      out += fmt::format(
          "<input type=\"radio\" name=\"{}\" id=\"{}\"{}><label for=\"{}\">{}</label>\n<div class=\"view\">\n", name,
          id, i == 0 ? " checked" : "", id, escaped(figure.views[i].label));
      write_plot(figure.views[i].plot, id + "-plot");
      out += "</div>\n";
    }
    out += "</div>\n";
  }

  int figures_ = 0;
  std::set<std::size_t> samples_;
};

}  // namespace

std::string to_html(const Page& page) {
  HtmlWriter writer;
  writer.out = fmt::format("{}<body>\n<h1>{}</h1>\n", head(page.title), escaped(page.title));
  for (const Block& block : page.summary) std::visit(writer, block);
  writer.out += "<nav>\n";
  for (std::size_t i = 0; i < page.sections.size(); ++i) {
    writer.out += fmt::format("<a href=\"#section-{}\">{}</a>\n", i + 1, escaped(page.sections[i].title));
  }
  writer.out += "</nav>\n";
  for (std::size_t i = 0; i < page.sections.size(); ++i) {
    writer.out += fmt::format("<section id=\"section-{}\">\n<h2>{}</h2>\n", i + 1, escaped(page.sections[i].title));
    for (const Block& block : page.sections[i].blocks) std::visit(writer, block);
    writer.out += "</section>\n";
  }
  return std::move(writer.out) + "</body>\n</html>\n";
}

}  // namespace monge::compare
