#include "tools/plot/gnuplot.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>

#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>

#include "core/error.h"

extern char** environ;

namespace monge {
namespace {

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

}  // namespace

std::string gnuplot_svg(const std::string& script, int width, int height) {
  const std::string terminal = fmt::format(
      "set encoding utf8\nset terminal svg size {},{} fixed font 'sans-serif,14' noenhanced\n", width, height);
  const File input = temporary_file(terminal + script), output = temporary_file(), errors = temporary_file();
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
        "gnuplot is not installed, and it draws every plot; install it, on Debian and Ubuntu with "
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

// Between double quotes gnuplot looks for commands and macros, between single ones it takes '' for an end where it
// comes first. Neither happens to characters in octal. Digits are among them: gnuplot reads as many as follow.
std::string plot_text(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < ' ') {
      result += ' ';
    } else if (byte >= 0x80 || std::isalpha(byte) != 0 || c == ' ') {
      result += c;
    } else {
      result += fmt::format("\\{:03o}", byte);
    }
  }
  return result + "\"";
}

std::string tic_text(std::string_view text) {
  std::string format;
  for (const char c : text) format += c == '%' ? "%%" : std::string(1, c);
  return plot_text(format);
}

std::string data_block(std::string_view name, const std::vector<std::vector<double>>& rows) {
  std::string text = fmt::format("${} << EOD\n", name);
  for (const std::vector<double>& row : rows) {
    for (const double x : row) text += std::isfinite(x) ? fmt::format("{} ", x) : "NaN ";
    text += '\n';
  }
  return text + "EOD\n";
}

}  // namespace monge
