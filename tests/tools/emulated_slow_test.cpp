// The whole program on the emulated GPU, whose memory the host cannot touch: what a user does with device=cuda.
#include <gtest/gtest.h>

#include <sstream>

#include "support/program.h"

namespace monge::test {
namespace {

testing::AssertionResult has(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << part << "\" is not in:\n" << text;
}

class EmulatedProgram : public testing::Test {
 protected:
  void SetUp() override { program_.write_config(); }

  /// Runs it, expects success, and gives what it printed.
  std::string run(const std::string& arguments) const {
    const Result result = program_.run(arguments);
    EXPECT_EQ(result.code, 0) << arguments << '\n' << result.err;
    return result.out;
  }

  const Program program_{"tests/monge_emulated"};
};

TEST_F(EmulatedProgram, ARunGoesThroughAllItsStationsAndMovesBetweenDevices) {
  EXPECT_TRUE(has(run("info config.yaml device=cuda"), "emulated GPU"));
  EXPECT_TRUE(has(run("train config.yaml --out run device=cuda train.steps=8"), "step 8/8"));
  EXPECT_TRUE(has(run("train config.yaml --out run --resume device=cpu train.steps=12"), "step 12/12"));
  EXPECT_TRUE(has(run("train config.yaml --out run --resume device=cuda"), "step 20/20"));
  EXPECT_EQ(run("sample run --tokens 8 --temperature 0 device=cuda"), run("sample run --tokens 8 --temperature 0"));
  EXPECT_TRUE(has(run("eval run device=cuda"), "validation loss"));
}

TEST_F(EmulatedProgram, EvaluationAndSamplesFollowTheSettingsOfTheDevice) {
  run("train config.yaml --out run device=cuda train.steps=2");
  for (const std::string command : {"eval run", "sample run --tokens 4"}) {
    const std::string file = command.substr(0, command.find(' ')) + ".tuned";
    run(command + " cuda.tune=true cuda.tuning_file=" + file);
    EXPECT_TRUE(std::filesystem::exists(program_ / file)) << command;
  }
}

TEST_F(EmulatedProgram, BenchMeasuresEveryOpAndSaysWhichWayAttentionWent) {
  std::string table;  // lines are wrapped at spaces
  std::istringstream words(run("bench config.yaml device=cuda --steps 2"));
  for (std::string word; words >> word;) table += word + ' ';
  EXPECT_TRUE(has(table, "whole step"));
  EXPECT_TRUE(has(table, "attention backward of softmax f32, 2 heads of 8: products and row kernels"));
}

TEST_F(EmulatedProgram, OptimizersThatFactoriseOnTheHost) {
  for (const char* rule : {"soap", "shampoo", "psgd_kron", "kfac", "ekfac", "muon"}) {
    const std::string name = std::string("optimizer.name=") + rule;
    EXPECT_TRUE(has(run("train config.yaml --out " + std::string(rule) + " device=cuda train.steps=6 " + name), "6/6"));
  }
}

TEST_F(EmulatedProgram, AGpuThatIsNotThereIsOneLine) {
  const Result result = program_.run("train config.yaml --out run device=cuda:7");
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.err, "monge: device 'cuda:7': this machine has 1 GPU; allowed: cuda\n");
}

}  // namespace
}  // namespace monge::test
