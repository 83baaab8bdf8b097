// Progress: what a run tells the person who watches it.
//
// On a terminal the state of the run is one line that is rewritten; elsewhere every state is a plain line.
// What cannot be written never ends a run.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace monge::train {

class Progress {
 public:
  /// Writes to `out`, which may be null: then it is silent. The stream outlives this.
  explicit Progress(std::FILE* out);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// A line that stays, wrapped to 80 columns.
  void note(const std::string& text);
  /// Text that is shown as it is.
  void verbatim(const std::string& text);
  /// The present state, which replaces the one before on a terminal.
  void update(const std::string& text);
  /// Ends the rewritten line, so that other output may follow.
  void finish();
  /// Whether there is a terminal, on which an update costs no line.
  bool rewrites() const { return terminal_; }

 private:
  std::FILE* out_;
  bool terminal_;
  bool pending_ = false;  // the cursor stands on a rewritten line
};

/// Lines of at most 80 columns where spaces allow it: broken between words, rather at two spaces; what follows stands
/// `indent` columns in.
std::string wrapped(const std::string& text, std::size_t indent = 9);

/// Writes to a stream that people may watch, at once. Where they have gone (`| head`, a closed terminal) that is no
/// error: the stream is silent from then on. Any other failure stays in ferror(out). SIGPIPE must be ignored.
void show(std::FILE* out, const std::string& text);

/// Text that somebody else has written, for a terminal: control characters but tab and line break read "\x1b". Pieces
/// may end within a character.
class TerminalText {
 public:
  std::string next(std::string_view piece);

 private:
  bool within_c1_ = false;  // the byte before is the first of a control character of two bytes, or of a letter
};

/// "1.2 s", "3 min 20 s", "2 h 05 min".
std::string duration_text(double seconds);
/// "812 B", "3.4 MiB", "1.20 GiB".
std::string bytes_text(double bytes);
/// "1.8342", or with three digits where four decimals would hide or drown them: "3.1e-07", "7.54e+24".
std::string loss_text(double loss);
/// "812 ", "10.7 k", "1.24 G": a count with three digits, for a unit to follow.
std::string count_text(double count);

}  // namespace monge::train
