// Output that does not arrive: a full disk, a closed stream, a reader that has gone.
#include "support/expect_error.h"
#include "support/program.h"

namespace monge {
namespace {

using test::Program;
using test::read_file;
using test::Result;

class Streams : public testing::Test {
 protected:
  void SetUp() override {
    program.write_config();
    ASSERT_EQ(program.run("train config.yaml --out run").code, 0);
    test::write_file(program / "text.txt", "some text, some more text, and again some text\n");
  }
  /// Runs `monge arguments` with the shell's redirections.
  Result shell(const std::string& arguments, const std::string& redirections) const {
    const std::string command = fmt::format("cd '{}' && '{}/monge' {} 2>errors {}", (program / "").string(),
                                            MONGE_BINARY_DIR, arguments, redirections);
    const int status = std::system(("exec /bin/bash -c \"" + command + "\"").c_str());
    return {WEXITSTATUS(status), "", read_file(program / "errors")};
  }
  Program program;
};

TEST_F(Streams, ResultsThatCannotBeWrittenAreAnError) {
  for (const char* arguments : {"sample run", "eval run", "eval run --json", "info", "info config.yaml", "--help",
                                "train --help", "tokenize text.txt", "--version", "verify attention run"}) {
    for (const char* redirection : {">/dev/full", ">&-"}) {
      const Result result = shell(arguments, redirection);
      EXPECT_EQ(result.code, 3) << arguments << redirection;
      EXPECT_HAS(result.err, "standard output") << arguments << redirection;
    }
  }
}

TEST_F(Streams, ARunIsCompleteWhenItsProgressIsNot) {
  for (const char* redirection : {">/dev/full", ">&-", "<&- >&-"}) {
    std::filesystem::remove_all(program / "new");
    EXPECT_EQ(shell("train config.yaml --out new", redirection).code, 3) << redirection;
    EXPECT_TRUE(std::filesystem::exists(program / "new/summary.json")) << redirection;
    EXPECT_EQ(read_file(program / "new/config.yaml"), read_file(program / "run/config.yaml"));
    EXPECT_EQ(program.run("eval new").code, 0) << redirection;
  }
}

TEST_F(Streams, ARunGoesOnWithoutReaders) {
  // The reader is gone before the first line.
  const Result result =
      shell("train config.yaml train.log_every=1 --out new", "> >(exec true); code=\\$?; wait; exit \\$code");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_TRUE(std::filesystem::exists(program / "new/summary.json"));
}

}  // namespace
}  // namespace monge
