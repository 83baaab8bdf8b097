#include "train/console/progress.h"

#include <gtest/gtest.h>

namespace monge::train {
namespace {

TEST(Progress, WrapsBetweenWords) {
  EXPECT_EQ(wrapped("short\n\nlines\n"), "short\n\nlines\n");
  const std::string word(30, 'a');
  EXPECT_EQ(wrapped(word + " " + word + " " + word, 4), word + " " + word + "\n    " + word);
  EXPECT_EQ(wrapped(word + " b  c " + word + " " + word, 0), word + " b  c " + word + "\n" + word);
  EXPECT_EQ(wrapped(word + " " + word + "  c d " + word, 2), word + " " + word + "\n  c d " + word);
  const std::string path(100, '/');
  EXPECT_EQ(wrapped(path), path);
  EXPECT_EQ(wrapped("data     " + path + " end"), "data     " + path + "\n         end");
  std::string accents;
  for (int i = 0; i < 40; ++i) accents += "\xC3\xA9 ";
  EXPECT_EQ(wrapped(accents + "e"), accents.substr(0, accents.size() - 1) + "\n         e") << "columns, not bytes";
}

TEST(Progress, ATerminalGetsNoControlCharacters) {
  EXPECT_EQ(TerminalText().next("a\x1b[2J\tb\n\r\x7f"), "a\\x1b[2J\tb\n\\x0d\\x7f");
  EXPECT_EQ(TerminalText().next("\xC3\xA9 \xE4\xB8\x80 \xC2\xA0"), "\xC3\xA9 \xE4\xB8\x80 \xC2\xA0");
  TerminalText pieces;
  std::string shown;
  for (const char* piece : {"\xC2", "\x9B", "2J"}) shown += pieces.next(piece);
  EXPECT_EQ(shown, "\xC2\\x9b2J");
}

// Four decimals, unless they would hide the number or drown it.
TEST(Progress, LossesKeepTheirDigits) {
  EXPECT_EQ(loss_text(1.83421), "1.8342");
  EXPECT_EQ(loss_text(0.0), "0.0000");
  EXPECT_EQ(loss_text(0.00123), "0.0012");
  EXPECT_EQ(loss_text(3.14159e-7), "3.14e-07");
  EXPECT_EQ(loss_text(-2.5e-5), "-2.5e-05");
  EXPECT_EQ(loss_text(7.5406e24), "7.54e+24");
}

}  // namespace
}  // namespace monge::train
