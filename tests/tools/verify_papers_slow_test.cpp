// monge verify of every paper, as a user runs it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "support/expect_error.h"
#include "support/program.h"
#include "support/svg_texts.h"

namespace monge::tools {
namespace {

class VerifyPapers : public testing::TestWithParam<const char*> {
 protected:
  const std::string command = std::string("verify ") + GetParam();
  test::Program program;
};

TEST_P(VerifyPapers, TheClaimsHoldForAnotherSeed) {
  const test::Result result = program.run(command + " --json --seed 77");
  EXPECT_EQ(result.code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json["ok"], true);
  EXPECT_GE(json["findings"][0]["claims"].size(), 4u);
}

TEST_P(VerifyPapers, PrintsATableAndDrawsAFigure) {
  const test::Result result = program.run(command + " --figure f.svg");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_HAS(result.out, "Every claim is within its bound.");
  EXPECT_HAS(result.out, "arXiv:");
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
  const std::string docs = std::string(MONGE_SOURCE_DIR "/docs/papers/") + GetParam() + ".svg";
  EXPECT_EQ(test::svg_texts(test::read_file(program / "f.svg")), test::svg_texts(test::read_file(docs)))
      << "draw it anew with --figure";
}

TEST_P(VerifyPapers, AFigureThatCannotBeWrittenIsRefusedBeforeTheWork) {
  const test::Result result = program.run(command + " --figure no/such/folder.svg");
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.out, "");
}

TEST(VerifyAll, GathersEveryPaper) {
  const test::Program program;
  const test::Result result = program.run("verify all --json");
  EXPECT_EQ(result.code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json["ok"], true);
  EXPECT_EQ(json["findings"].size(), 8u);
  EXPECT_EQ(program.run("verify all --figure f.svg").code, 2);
}

INSTANTIATE_TEST_SUITE_P(Papers, VerifyPapers,
                         testing::Values("spectrum", "spline", "sigmoid", "in_context", "goat", "aaren"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace monge::tools
