#include "tools/compare/report/plot.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <sstream>

#include "core/error.h"

extern char** environ;

namespace monge::compare {
namespace {

// gnuplot knows no CSS variables: it draws in these colours, and they become variables afterwards.
constexpr const char* quiet = "#000200";
constexpr const char* grid = "#000300";

constexpr Theme light = {
    .paper = "#ffffff",
    .ink = "#1b1f24",
    .quiet = "#59636e",
    .grid = "#d8dee4",
    .series = {"#1b1f24", "#0067a8", "#b84700", "#00755a", "#a13a78", "#7a5d00", "#5a3fb5", "#b3132b"},
};
constexpr Theme dark = {
    .paper = "#14171b",
    .ink = "#e8ebee",
    .quiet = "#9aa4af",
    .grid = "#343b43",
    .series = {"#e8ebee", "#62b8f0", "#ff9455", "#35d0a2", "#ea93c4", "#e5c445", "#b7a4ff", "#ff7f8a"},
};
constexpr std::size_t colours = light.series.size();
constexpr const char* dashes[] = {"1", "(9,3)", "(3,3)", "(9,3,2,3)", "(14,4)", "(3,2,1,2)", "(6,2,1,2,1,2)"};
constexpr int markers[] = {7, 5, 9, 13, 11, 15};  // gnuplot's filled ones

/// The place of a series in the palette: after the last colour comes the one after the baseline's.
std::size_t palette_place(std::size_t series) { return series == 0 ? 0 : 1 + (series - 1) % (colours - 1); }

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

File temporary_file(std::string_view content = {}) {
  File file(std::tmpfile());
  if (!file || std::fwrite(content.data(), 1, content.size(), file.get()) != content.size() ||
      std::fflush(file.get()) != 0) {
    throw RunError(fmt::format("no temporary file for a plot: {}", std::strerror(errno)));
  }
  std::rewind(file.get());
  return file;
}

std::string content(std::FILE* file) {
  std::rewind(file);
  std::string text;
  char buffer[1 << 14];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, file)) > 0;) text.append(buffer, n);
  return text;
}

/// What gnuplot prints for a script.
std::string run_gnuplot(const std::string& script) {
  const File input = temporary_file(script), output = temporary_file(), errors = temporary_file();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  int descriptor = 0;
  for (const File* file : {&input, &output, &errors}) {
    posix_spawn_file_actions_adddup2(&actions, ::fileno(file->get()), descriptor++);
  }
  char name[] = "gnuplot", defaults[] = "--default-settings";  // not the user's ~/.gnuplot
  char* arguments[] = {name, defaults, nullptr};
  pid_t child = 0;
  const int problem = ::posix_spawnp(&child, name, &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (problem == ENOENT) {
    throw RunError(
        "gnuplot is not installed, and draws the plots of a report; install it, on Debian and Ubuntu with "
        "'apt-get install gnuplot-nox'");
  }
  if (problem != 0) throw RunError(fmt::format("gnuplot cannot be started: {}", std::strerror(problem)));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw RunError(fmt::format("gnuplot could not draw a plot: {}", content(errors.get())));
  }
  return content(output.get());
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t i = text.find(from); i != std::string::npos; i = text.find(from, i + to.size())) {
    text.replace(i, from.size(), to);
  }
}

/// Replaces a colour in both ways in which gnuplot writes it.
void replace_colour(std::string& svg, std::string_view hex, std::string_view by) {
  const auto part = [&](std::size_t i) { return std::stoi(std::string(hex.substr(i, 2)), nullptr, 16); };
  replace_all(svg, fmt::format("rgb({:>3}, {:>3}, {:>3})", part(1), part(3), part(5)), by);
  replace_all(svg, fmt::format("rgb({},{},{})", part(1), part(3), part(5)), by);
}

/// gnuplot's document without its header and without groups that hold nothing.
std::string body(const std::string& document) {
  const std::size_t start = document.find("<g id=\"gnuplot_canvas\">"), end = document.rfind("</svg>");
  if (start == std::string::npos || end == std::string::npos) throw RunError("gnuplot wrote something that is no SVG");
  std::istringstream lines(document.substr(start, end - start));
  std::string result, line, held;
  bool in_filter = false;
  while (std::getline(lines, line)) {
    if (line.find("<filter") != std::string::npos) in_filter = true;
    const bool skip = in_filter || line.empty() || line.starts_with("<rect x=\"0\" y=\"0\"");
    if (line.find("</filter>") != std::string::npos) in_filter = false;
    if (skip) continue;
    if (line == "</g>" && !held.empty()) {
      held.clear();
      continue;
    }
    result += held;
    held.clear();
    (line.starts_with("<g fill=") ? held : result) += line + "\n";
  }
  return result + held;
}

}  // namespace

const Theme& light_theme() { return light; }
const Theme& dark_theme() { return dark; }

std::string colour(std::size_t series) { return fmt::format("rgb '#0001{:02x}'", palette_place(series)); }
std::string quiet_colour() { return fmt::format("rgb '{}'", quiet); }

std::string line_style(std::size_t series) {
  return fmt::format("lc {} lw {} dt {} pt {} ps 0.5", colour(series), series == 0 ? 2.2 : 1.8,
                     dashes[series % std::size(dashes)], markers[series % std::size(markers)]);
}

std::string plot_text(std::string_view text) {
  std::string result = "'";
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < ' ') {
      result += ' ';
    } else {
      result += c == '\'' ? "''" : std::string(1, c);
    }
  }
  return result + "'";
}

std::string data_block(std::string_view name, const std::vector<std::vector<double>>& rows) {
  std::string text = fmt::format("${} << EOD\n", name);
  for (const std::vector<double>& row : rows) {
    for (const double x : row) text += std::isfinite(x) ? fmt::format("{} ", x) : "NaN ";
    text += '\n';
  }
  return text + "EOD\n";
}

std::string draw(const Plot& plot, std::string_view id) {
  std::string svg =
      body(run_gnuplot(fmt::format("set encoding utf8\n"
                                   "set terminal svg size {},{} dynamic font 'sans-serif,14' noenhanced\n"
                                   "set border 3 lc rgb '{}'\nset tics nomirror out scale 0.5 textcolor rgb '{}'\n"
                                   "set grid lt 1 lw 0.6 dt 1 lc rgb '{}'\nset xlabel offset 0,0.4\nset key below "
                                   "reverse Left samplen 3 spacing 1.2\n{}",
                                   plot.width, plot.height, quiet, quiet, grid, plot.script)));
  for (std::size_t i = 0; i < colours; ++i) {
    replace_colour(svg, fmt::format("#0001{:02x}", i), fmt::format("var(--series-{})", i));
  }
  replace_colour(svg, quiet, "var(--quiet)");
  replace_colour(svg, grid, "var(--grid)");
  replace_colour(svg, "#000000", "currentColor");
  for (const char* quote : {"'", "\""}) {
    replace_all(svg, fmt::format("={}black{}", quote, quote), "=\"currentColor\"");
    replace_all(svg, fmt::format("id={}gnuplot_", quote), fmt::format("id={}{}-", quote, id));
    replace_all(svg, fmt::format("id={}gp", quote), fmt::format("id={}{}-gp", quote, id));
  }
  replace_all(svg, "xlink:href='#gp", fmt::format("href='#{}-gp", id));
  replace_all(svg, " font-family=\"sans-serif\"", "");
  return fmt::format("<svg viewBox=\"0 0 {} {}\" aria-hidden=\"true\">\n{}</svg>\n", plot.width, plot.height, svg);
}

}  // namespace monge::compare
