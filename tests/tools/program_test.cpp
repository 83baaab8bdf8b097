// The program as a person or a script meets it: exit codes, messages, and nothing half-written.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/options/yaml.h"
#include "support/expect_error.h"
#include "support/program.h"
#include "train/config/config.h"

namespace monge {
namespace {

using test::Program;
using test::read_file;
using test::Result;
using test::write_file;

std::string made_up_sentences() {
  std::string text;
  for (int i = 0; i < 100; ++i) text += fmt::format("sentence {} of some.\n", i);
  return text;
}

class ProgramTest : public testing::Test {
 protected:
  void SetUp() override { program.write_config(); }
  /// Wrong input: exit code 2, one message that has `part`, and no trace of a run.
  void expect_refused(const std::string& arguments, const std::string& part) {
    const Result result = program.run(arguments + " --out new_run");
    EXPECT_EQ(result.code, 2) << arguments;
    EXPECT_HAS(result.err, part);
    EXPECT_TRUE(result.err.starts_with("monge: ")) << result.err;
    EXPECT_FALSE(std::filesystem::exists(program / "new_run")) << arguments;
  }
  Program program;
};

TEST_F(ProgramTest, TrainsEvaluatesAndSamples) {
  const Result train = program.run("train config.yaml train.steps=6 --out run");
  EXPECT_EQ(train.code, 0) << train.err;
  EXPECT_EQ(train.err, "");
  for (const char* part : {"device ", "data ", " parameters: ", "memory: ", "step 6/6", "validation loss", "excess",
                           "exact entropy of the language", "sample ("}) {
    EXPECT_HAS(train.out, part);
  }
  EXPECT_EQ(train.out.find('\r'), std::string::npos) << "plain lines when not on a terminal";
  for (const char* file : {"config.yaml", "metrics.jsonl", "sample.txt", "checkpoints/step_00000006/model.safetensors",
                           "checkpoints/step_00000006/optimizer.safetensors", "checkpoints/step_00000006/state.json"}) {
    EXPECT_TRUE(std::filesystem::exists(program / "run" / file)) << file;
  }
  const std::string metrics = read_file(program / "run/metrics.jsonl");
  const auto last = nlohmann::json::parse(metrics.substr(metrics.rfind("{")));
  for (const char* key : {"step", "tokens", "seconds", "train_loss", "val_loss", "excess_loss", "lr", "grad_norm",
                          "tokens_per_second", "mfu", "peak_bytes"}) {
    EXPECT_TRUE(last.contains(key)) << key;
  }

  const Result eval = program.run("eval run --json");
  EXPECT_EQ(eval.code, 0) << eval.err;
  EXPECT_EQ(nlohmann::json::parse(eval.out)["val_loss"], last["val_loss"]);
  EXPECT_EQ(program.run("eval run/checkpoints/step_00000006").code, 0);

  write_file(program / "text.txt", "abcdefabcdefabcdefab");
  const Result text = program.run("eval run --text text.txt --stride 3 --json");
  EXPECT_EQ(text.code, 0) << text.err;
  const auto whole = nlohmann::json::parse(text.out);
  EXPECT_EQ(whole["tokens"], 19);
  EXPECT_NEAR(whole["perplexity"].get<double>(), std::exp(whole["loss"].get<double>()), 1e-9);
  EXPECT_NEAR(whole["bits_per_byte"].get<double>(), whole["loss"].get<double>() / std::log(2.0), 1e-9);
  write_file(program / "other.txt", "abcz");
  const Result other = program.run("eval run --text other.txt");
  EXPECT_EQ(other.code, 2);
  EXPECT_HAS(other.err, "--text: other.txt: character 'z'");

  const std::string sample = "sample run --tokens 20 --seed 3 --temperature 0.8 --top-k 5 --top-p 0.9";
  const Result first = program.run(sample);
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(first.out.size(), 1u + 20u + 1u);
  EXPECT_EQ(program.run(sample).out, first.out);
  EXPECT_TRUE(program.run(sample + " --prompt abc").out.starts_with("abc"));
}

TEST_F(ProgramTest, InventsAFolderWhenNoneIsGiven) {
  EXPECT_EQ(program.run("train config.yaml train.steps=1").code, 0);
  EXPECT_EQ(program.run("train config.yaml train.steps=1").code, 0);
  EXPECT_TRUE(std::filesystem::exists(program / "runs/config-1/metrics.jsonl"));
  EXPECT_TRUE(std::filesystem::exists(program / "runs/config-2/metrics.jsonl"));
}

TEST_F(ProgramTest, ProfilesStepsOfARun) {
  const Result train =
      program.run("train config.yaml --out run --profile trace.json --profile-first 5 --profile-steps 2");
  EXPECT_EQ(train.code, 0) << train.err;
  EXPECT_HAS(train.out, " ms a step, ");
  EXPECT_HAS(train.out, "trace.json holds the spans");
  const auto trace = nlohmann::json::parse(read_file(program / "trace.json"));
  EXPECT_EQ(std::ranges::count_if(trace["traceEvents"], [](const auto& event) { return event["name"] == "step"; }), 2);

  EXPECT_EQ(program.run("train config.yaml --out late train.steps=4 --profile late.json --profile-first 5").code, 0);
  EXPECT_HAS(read_file(program / "stdout"), "late.json is empty: the run had 4 steps");
  expect_refused("train config.yaml --profile config.yaml", "read by the same command");
  expect_refused("train config.yaml --profile nowhere/trace.json", "nowhere/trace.json: No such file");
  expect_refused("train config.yaml device=cuda --profile trace.json", "nsys");
  expect_refused("train config.yaml --profile-steps 5", "--profile");
}

TEST_F(ProgramTest, Bf16WithoutBf16ArithmeticIsSaid) {
  const std::string train = "train config.yaml train.precision=bfloat16 train.steps=2 --out ";
  const Result old = program.run(train + "old", "export DNNL_MAX_CPU_ISA=AVX2; ");
  EXPECT_EQ(old.code, 0) << old.err;
  EXPECT_HAS(old.out, "no bf16 arithmetic");
}

TEST_F(ProgramTest, WrongConfigIsRefused) {
  expect_refused("train config.yaml model.widht=32", "Did you mean 'width'");
  expect_refused("train config.yaml model.nothing.at.all=1", "model.nothing");
  expect_refused("train config.yaml model.layers=two", "integer");
  expect_refused("train config.yaml train.batch=0", "train.batch");
  expect_refused("train config.yaml optimizer.lr=-1", "optimizer.lr");
  expect_refused("train config.yaml model.heads=3", "model.heads (3) must divide model.width (16)");
  expect_refused("train config.yaml device=tpu", "tpu");
  expect_refused("train config.yaml steps", "steps");
  expect_refused("train none.yaml", "none.yaml");
  write_file(program / "empty.yaml", "");
  expect_refused("train empty.yaml", "empty.yaml");
  write_file(program / "unknown.yaml", "data: {kind: markov}\nmodle: {width: 16}\n");
  expect_refused("train unknown.yaml", "unknown.yaml:2:1");
  write_file(program / "syntax.yaml", "data: {kind: markov\n");
  expect_refused("train syntax.yaml", "syntax.yaml");
}

TEST_F(ProgramTest, WrongDataIsRefused) {
  const std::string text = "train config.yaml data.kind=text data.path=text.txt data.cache=cache";
  expect_refused(text, "text.txt");
  write_file(program / "text.txt", "");
  expect_refused(text, "text.txt");
  write_file(program / "text.txt", "short");
  expect_refused(text, "model.context");
  write_file(program / "text.txt", std::string(2000, 'a') + "\xff" + std::string(2000, 'b'));
  expect_refused(text, "2000");
}

TEST_F(ProgramTest, WrongPairsAreRefused) {
  const std::string pairs =
      "train config.yaml data.kind=pairs data.path=pairs.tsv model.kind=encoder_decoder model.source_context=3 ";
  write_file(program / "pairs.tsv", "ab\tba\nab\n");
  expect_refused(pairs, "pairs.tsv, line 2: 1 column; a line is a source, a tab and a target");
  write_file(program / "pairs.tsv", "ab\tba\nab\t\n");
  expect_refused(pairs, "line 2: the target is empty");
  write_file(program / "pairs.tsv", "abab\tba\nab\tba\n");
  expect_refused(pairs, "line 1: the source has 4 tokens; allowed: 3 (model.source_context)");
  expect_refused("train config.yaml model.kind=encoder_decoder", "model.kind encoder_decoder reads 'source'");
}

TEST_F(ProgramTest, WrongFoldersAreRefused) {
  write_file(program / "file", "");
  for (const char* out : {"file", "file/below", "/proc/monge"}) {
    const Result result = program.run(std::string("train config.yaml --out ") + out);
    EXPECT_EQ(result.code, 2) << out;
    EXPECT_HAS(result.err, "--out");
  }
  std::filesystem::create_directory(program / "full");
  write_file(program / "full/precious", "mine");
  const Result result = program.run("train config.yaml --out full");
  EXPECT_EQ(result.code, 2);
  EXPECT_HAS(result.err, "--resume");
  EXPECT_FALSE(std::filesystem::exists(program / "full/config.yaml"));
  EXPECT_EQ(program.run("train config.yaml --resume").code, 2);
}

TEST_F(ProgramTest, AResumeFindsItsConfigurationInTheFolder) {
  EXPECT_EQ(program.run("train config.yaml train.steps=4 optimizer.lr=3e-3 --out run").code, 0);
  const Result more = program.run("train --resume --out run train.steps=6");
  EXPECT_EQ(more.code, 0) << more.err;
  EXPECT_HAS(more.out, "step 6/6");
  EXPECT_HAS(read_file(program / "run/config.yaml"), "lr: 0.003");
  EXPECT_HAS(program.run("train --resume --out run").out, "nothing is left to do");
  EXPECT_HAS(program.run("train --resume --out none").err, "none/config.yaml");
  EXPECT_FALSE(std::filesystem::exists(program / "none"));
}

TEST_F(ProgramTest, OtherDataIsSaidByEval) {
  write_file(program / "a.txt", std::string(600, 'a') + std::string(600, 'b') + "cdef");
  write_file(program / "b.txt", std::string(600, 'b') + std::string(600, 'a') + "c");
  for (const char* tokenizer : {"char", "{kind: bpe, vocab: 258}"}) {
    std::filesystem::remove_all(program / "run");
    const Result trained = program.run(fmt::format(
        "train config.yaml train.steps=4 'data={{kind: text, path: a.txt, cache: cache, tokenizer: {}}}' --out run",
        tokenizer));
    ASSERT_EQ(trained.code, 0) << trained.err;
    EXPECT_EQ(program.run("eval run").err, "");
    const Result other = program.run("eval run data.path=b.txt --json");  // with fewer characters
    EXPECT_EQ(other.code, 0) << other.err;
    EXPECT_HAS(other.err, "note: the data is another than that of the run: data.path.0: a.txt -> b.txt");
    EXPECT_TRUE(nlohmann::json::parse(other.out).contains("data_changed"));
  }
  write_file(program / "b.txt", std::string(1200, 'x'));
  EXPECT_EQ(program.run("eval run data.path=b.txt").code, 0) << "bytes, all of which BPE knows";
  std::filesystem::rename(program / "b.txt", program / "a.txt");
  EXPECT_HAS(program.run("eval run").err, "the content has changed");
  EXPECT_HAS(program.run("eval run data.tokenizer=char").err, "a trained model cannot be changed (data.tokenizer");
}

// A model whose parameters know no length reads sequences longer than those it was trained on, of the same data.
TEST_F(ProgramTest, EvaluatesAtAnotherLength) {
  for (const std::string position : {"rope", "alibi", "goat", "none"}) {
    SCOPED_TRACE(position);
    const std::string run = "run_" + position;
    EXPECT_EQ(program.run("train config.yaml train.steps=4 model.position=" + position + " --out " + run).code, 0);
    const auto same = nlohmann::json::parse(program.run("eval " + run + " --json").out);
    const Result longer = program.run("eval " + run + " model.context=40 --json");
    EXPECT_EQ(longer.code, 0) << longer.err;
    EXPECT_EQ(longer.err, "");
    EXPECT_NE(nlohmann::json::parse(longer.out)["val_loss"], same["val_loss"]);
    EXPECT_EQ(program.run("sample " + run + " model.context=40 --seed 1").code, 0);
  }
  EXPECT_EQ(program.run("train config.yaml train.steps=4 model.position=learned --out run").code, 0);
  const Result refused = program.run("eval run model.context=40");
  EXPECT_EQ(refused.code, 2);
  EXPECT_HAS(refused.err, "a trained model cannot be changed (model.context");
  EXPECT_HAS(refused.err, "position.weight");
  EXPECT_HAS(program.run("eval run_rope model.width=32").err, "a trained model cannot be changed (model.width");
}

TEST_F(ProgramTest, EvaluatesAndSamplesTheBest) {
  EXPECT_EQ(program
                .run("train config.yaml train.steps=12 train.eval_every=2 train.keep_checkpoints=1 "
                     "optimizer.lr=1 optimizer.schedule.warmup=11 --out run")
                .code,
            0);
  const auto newest = nlohmann::json::parse(program.run("eval run --json").out);
  const auto best = nlohmann::json::parse(program.run("eval run --best --json").out);
  EXPECT_EQ(newest["step"], 12);
  EXPECT_LT(best["step"], 12);
  EXPECT_LT(best["val_loss"], newest["val_loss"]);
  EXPECT_NE(program.run("sample run --best --seed 1").out, program.run("sample run --seed 1").out);
  const Result one = program.run("eval run/checkpoints/step_00000012 --best");
  EXPECT_EQ(one.code, 2);
  EXPECT_HAS(one.err, "--best");
}

// A run takes its tokenizer from a file, keeps it, and goes on when that is gone. Another file of the same name is
// another tokenizer, not what the cache of tokens remembers.
TEST_F(ProgramTest, TakesATokenizerFromAFile) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "ab a b ";
  write_file(program / "a.txt", text);
  const std::string train =
      "train config.yaml train.steps=2 'data={kind: text, path: a.txt, cache: cache, tokenizer: {kind: hf, path: "
      "t.json}}'";
  expect_refused(train, "t.json' is no file that can be read");
  write_file(program / "t.json", R"({"model": {"vocab": {"a": 0, "b": 1, " ": 2, "ab": 3}, "merges": ["a b"]}})");
  const Result trained = program.run(train + " --out run");
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_HAS(trained.out, "(hf, vocabulary 4)");
  std::filesystem::remove(program / "t.json");
  EXPECT_EQ(program.run("eval run").code, 0);
  EXPECT_EQ(program.run("sample run --prompt ab --tokens 3").code, 0);

  write_file(program / "t.json", R"({"model": {"vocab": {"a": 0, "b": 1, " ": 2}, "merges": []}})");
  EXPECT_HAS(program.run(train + " --out other").out, "(hf, vocabulary 3)");
  write_file(program / "t.json", R"({"model": {"vocab": {"a": 0}, "merges": ["a c"]}})");
  expect_refused(train, "t.json: model.merges[0]: 'c' is not in model.vocab");
  write_file(program / "t.json",
             R"({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a|b|ab| )+[cd]"}, "behavior": "Isolated"}, )"
             R"("model": {"vocab": {"a": 0}, "merges": []}})");
  expect_refused(train,
                 "t.json: pre_tokenizer.pattern.Regex: the pattern '(a|b|ab| )+[cd]' cannot be matched at byte 0");
}

TEST_F(ProgramTest, TokenizeSaysWhatATokenizerMakesOfAText) {
  std::ofstream(program / "text.txt") << "the cat and the dog and the\nhen";
  const auto json = nlohmann::json::parse(program.run("tokenize text.txt tokenizer.vocab=258 --json").out);
  EXPECT_EQ(json.at("vocab"), 258);
  EXPECT_EQ(json.at("bytes"), 31);
  EXPECT_EQ(json.at("tokens"), 31 - 4 - 3);  // (h, e) is there four times, then (t, he) three times
  EXPECT_EQ(program.run("tokenize text.txt tokenizer.vocab=257 --save kept.json").code, 0);
  const auto kept = nlohmann::json::parse(std::ifstream(program / "kept.json"));
  EXPECT_EQ(kept.at("tokenizer").dump(), R"({"kind":"bpe","merges":[[104,101]],"words":"unicode"})");
  EXPECT_EQ(kept.at("ids").size(), 31 - 4);
  for (const char* arguments : {"text.txt --save none/kept.json", "text.txt --save text.txt", "."}) {
    EXPECT_EQ(program.run(std::string("tokenize ") + arguments).code, 2) << arguments;
  }
  EXPECT_HAS(program.run("tokenize text.txt tokenizer.kind=char").out, "[t][h][e][ ][c]");
  EXPECT_EQ(program.run("tokenize none.txt").code, 2);
  EXPECT_HAS(program.run("tokenize text.txt tokenizer.vocab=7").err, "tokenizer.vocab");
}

TEST_F(ProgramTest, WrongCommandsAreRefused) {
  for (const char* arguments :
       {"", "trian config.yaml", "train", "train config.yaml --ouput x", "sample", "sample none", "eval none", "eval .",
        "info none.yaml", "bench none.yaml", "bench config.yaml --steps 0"}) {
    const Result result = program.run(arguments);
    EXPECT_EQ(result.code, 2) << arguments;
    EXPECT_TRUE(result.err.starts_with("monge: ")) << arguments << ": " << result.err;
  }
  EXPECT_HAS(program.run("train config.yaml --ouput x").err, "(see monge train --help)");
  EXPECT_HAS(program.run("verify attention --ouput x").err, "(see monge verify attention --help)");
  program.run("train config.yaml train.steps=1 --out run");
  EXPECT_HAS(program.run("eval run/checkpoints/step_00000007").err, "step_00000001");
  EXPECT_HAS(program.run("sample run --temperature -1").err, "temperature");
  EXPECT_HAS(program.run("sample run --prompt '#'").err, "#");
  EXPECT_HAS(program.run("eval run model.width=32").err, "model.width: 16 -> 32");
  EXPECT_EQ(program.run("eval run data.kind=markov data.symbols=3").code, 2);
}

TEST_F(ProgramTest, ALossThatIsNotFiniteEndsTheRun) {
  const Result result =
      program.run("train config.yaml optimizer.lr=1e30 optimizer.schedule.warmup=0 train.checkpoint_every=1 --out run");
  EXPECT_EQ(result.code, 3);
  EXPECT_HAS(result.err, "not finite first: ");
  EXPECT_HAS(result.err, "optimizer.lr");
  EXPECT_EQ(program.run("eval run").code, 0);  // the last good checkpoint
}

TEST_F(ProgramTest, AFullDiskEndsTheRunAndKeepsTheCheckpoint) {
  EXPECT_EQ(program.run("train config.yaml train.steps=4 --out run").code, 0);
  const Result result = program.run("train config.yaml train.steps=8 --out run --resume", "ulimit -f 8; ");
  EXPECT_EQ(result.code, 3) << result.err;
  EXPECT_HAS(result.err, "the checkpoint of step 8 was not written");
  EXPECT_EQ(read_file(program / "run/error.txt"), result.err);
  EXPECT_EQ(program.run("eval run").code, 0);
  EXPECT_EQ(program.run("train config.yaml train.steps=8 --out run --resume").code, 0);
  EXPECT_FALSE(std::filesystem::exists(program / "run/error.txt"));
}

TEST_F(ProgramTest, ARunThatIsResumedLeavesWhyItFailed) {
  const std::string wrong = "train config.yaml 'optimizer.groups=[{match: nothing}]' --out run";
  EXPECT_EQ(program.run(wrong).code, 2);
  EXPECT_FALSE(std::filesystem::exists(program / "run")) << "the same command can be repeated";
  const Result result = program.run(wrong + " --resume");
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(read_file(program / "run/error.txt"), result.err);
  EXPECT_EQ(program.run("train config.yaml --out run --resume").code, 0);
  EXPECT_FALSE(std::filesystem::exists(program / "run/error.txt"));
  // A run that has diverged says so in its summary.
  const std::string diverges = "train config.yaml optimizer.lr=1e30 optimizer.schedule.warmup=0 --out diverged";
  EXPECT_EQ(program.run(diverges).code, 3);
  EXPECT_TRUE(std::filesystem::exists(program / "diverged/summary.json"));
  EXPECT_FALSE(std::filesystem::exists(program / "diverged/error.txt"));
}

TEST_F(ProgramTest, ADamagedCheckpointIsRefused) {
  EXPECT_EQ(program.run("train config.yaml train.steps=2 --out run").code, 0);
  const auto file = program / "run/checkpoints/step_00000002/model.safetensors";
  std::string content = read_file(file);
  content[content.size() / 2] = static_cast<char>(content[content.size() / 2] ^ 1);
  write_file(file, content);
  for (const char* arguments : {"train config.yaml train.steps=2 --out run --resume", "eval run", "sample run"}) {
    const Result result = program.run(arguments);
    EXPECT_EQ(result.code, 2) << arguments;
    EXPECT_HAS(result.err, "is damaged");
  }
}

TEST_F(ProgramTest, NumbersBeyondReasonAreRefused) {
  for (const char* number : {"train.threads=100000", "train.threads=4294967297", "train.batch=9223372036854775807",
                             "train.steps=1e18", "model.layers=100000000", "model.width=1000000000000",
                             "model.context=1000000000", "train.accumulate=5000000"}) {
    const std::string key = std::string(number).substr(0, std::string(number).find('='));
    expect_refused(fmt::format("train config.yaml {}", number), key + ": ");
    EXPECT_HAS(read_file(program / "stderr"), "is out of range; allowed: ");
    const Result info = program.run(fmt::format("info config.yaml {}", number));
    EXPECT_EQ(info.code, 2) << number;
  }
  for (const char* arguments :
       {"sample run --tokens -5", "sample run --tokens abc", "bench config.yaml --steps 99999999999",
        "train config.yaml --profile t --profile-steps 0"}) {
    const Result result = program.run(arguments);
    EXPECT_EQ(result.code, 2) << arguments;
    EXPECT_HAS(result.err, " is not a whole number from ");
    EXPECT_LT(result.err.size(), 120u) << result.err;
  }
}

// Within every range, but larger than the machine: refused before memory is touched, and counted without overflow.
TEST_F(ProgramTest, SizesThatNoMachineHasAreRefused) {
  for (const char* sizes : {"model.width=1048576", "model.width=1048576 model.layers=10000",
                            "model.width=65536 model.context=4194304 train.batch=1048576 train.accumulate=1048576"}) {
    const Result result =
        program.run(fmt::format("train config.yaml train.steps=1 {} --out big", sizes), "ulimit -v 80000000; ");
    EXPECT_EQ(result.code, 3) << sizes << result.err;
    EXPECT_TRUE(result.err.find("out of memory") != std::string::npos ||
                result.err.find("more elements than") != std::string::npos)
        << result.err;
  }
}

TEST_F(ProgramTest, OverridesAreBlamedForWhatTheySay) {
  for (const char* text : {"device=gpu", "model.heads=3"}) {
    const Result result = program.run(fmt::format("train config.yaml {}", text));
    EXPECT_EQ(result.code, 2);
    EXPECT_HAS(result.err, fmt::format("monge: override '{}': ", text));
  }
  write_file(program / "odd.yaml", "data: {kind: markov}\nmodel: {heads: 3, width: 16}\n");
  EXPECT_HAS(program.run("train odd.yaml train.steps=3").err, "odd.yaml:2:8");
}

TEST_F(ProgramTest, APathNeedNotBeUtf8) {
  const std::string name = "d\xe9";
  std::filesystem::create_directories(program / name);
  write_file(program / name / "t.txt", made_up_sentences());
  const std::string data = fmt::format(" data.kind=text data.path='{}/t.txt' data.cache=cache", name);
  const Result train = program.run("train config.yaml train.steps=2 --out run" + data);
  EXPECT_EQ(train.code, 0) << train.err;
  EXPECT_EQ(program.run("eval run").code, 0) << read_file(program / "stderr");
  EXPECT_EQ(program.run("eval run --json").code, 0);
  EXPECT_EQ(program.run("train run/config.yaml train.steps=4 --out run --resume").code, 0)
      << read_file(program / "stderr");
}

TEST_F(ProgramTest, LinesFitATerminal) {
  for (const char* arguments :
       {"train config.yaml --out run", "info config.yaml", "info", "bench config.yaml --steps 1", "--help",
        "train --help", "bench --help", "report --help", "verify --help", "tokenize --help", "train --help optimizer",
        "train --help data", "train --help text", "compare --help tune"}) {
    const Result result = program.run(arguments);
    EXPECT_EQ(result.code, 0) << result.err;
    std::istringstream lines(result.out);
    for (std::string line; std::getline(lines, line);) {
      const bool unbroken = line.find(' ', 10) == std::string::npos;  // a path
      EXPECT_TRUE(line.size() <= 80 || unbroken) << line;
    }
  }
}

TEST_F(ProgramTest, SaysItsVersion) {
  const Result version = program.run("--version");
  EXPECT_EQ(version.code, 0);
  EXPECT_TRUE(version.out.starts_with("Monge ")) << version.out;
}

TEST_F(ProgramTest, HelpShowsSections) {
  const Result help = program.run("train --help");
  EXPECT_EQ(help.code, 0);
  for (const char* part : {"--out", "--resume", "\n  device (text) = cpu\n", "\n  optimizer (map)\n", "markov |"}) {
    EXPECT_HAS(help.out, part);
  }
  EXPECT_LT(std::ranges::count(help.out, '\n'), 50);
  EXPECT_EQ(program.run("--help").code, 0);
}

TEST_F(ProgramTest, HelpShowsTheKeysOfATopic) {
  const auto help = [&](const std::string& topic) {
    const Result result = program.run("train --help " + topic);
    EXPECT_EQ(result.code, 0) << topic;
    EXPECT_EQ(result.out.find("--resume"), std::string::npos) << topic;
    return result.out;
  };
  EXPECT_HAS(help("train"), "  train.steps (integer) = 2000 [steps]");
  EXPECT_HAS(help("train.steps"), "train.steps (integer)");
  EXPECT_EQ(help("train.steps").find("train.batch"), std::string::npos);
  EXPECT_HAS(help("optimizer"), "optimizer.lr (");
  EXPECT_HAS(help("optimizer"), "optimizer.muon: ");
  EXPECT_EQ(help("optimizer").find("optimizer.betas"), std::string::npos);
  EXPECT_HAS(help("optimizer.adamw"), "optimizer.betas (list of numbers)");
  EXPECT_HAS(help("muon"), "optimizer.base (map)");
  EXPECT_HAS(help("optimizer.base"), "optimizer.base.adamw: ");
  EXPECT_HAS(help("model.gpt"), "model.width (integer)");
  EXPECT_HAS(help("model"), "model.encoder_decoder: ");
  EXPECT_HAS(help("model.mlp"), "model.mlp.swiglu: ");
  EXPECT_HAS(help("swiglu"), "model.mlp.ratio (number)");
  EXPECT_HAS(help("optimizer.groups"), "optimizer.groups.N.");
  EXPECT_HAS(help("optimizer.chain"), "optimizer.chain.ema: ");
  EXPECT_HAS(help("optimizer.chain.ema"), "optimizer.chain.N.decay (number)");
  EXPECT_HAS(help("optimizer.muon"), "--help optimizer.base says more");
  const Result unknown = program.run("train --help optimizer.moun");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_HAS(unknown.err, "there is no key or kind 'optimizer.moun'");
  EXPECT_HAS(program.run("train --help config.yaml").out, "--resume");
  EXPECT_HAS(program.run("compare --help tune").out, "tune.");
}

// By the section that it stands in, or by the kind that it belongs to.
TEST_F(ProgramTest, HelpShowsEveryKey) {
  std::map<std::string, std::string> pages;  // of topics
  const auto page = [&](std::string topic) -> const std::string& {
    for (std::size_t at; (at = topic.find(".N")) != std::string::npos;) topic.erase(at, 2);
    const auto [found, fresh] = pages.try_emplace(topic);
    if (fresh) found->second = program.run("train --help " + topic).out;
    return found->second;
  };
  train::Config config;
  for (const KeyDescription& key : describe(config)) {
    if (key.type == "kind") continue;
    const std::size_t dot = key.path.rfind('.');
    const std::string section = dot == std::string::npos ? "" : key.path.substr(0, dot);
    const std::string kind = key.only_for.substr(key.only_for.rfind(' ') + 1);
    const std::string row = fmt::format("  {} ({})", key.path, key.type);
    const auto shows = [&](const std::string& topic) { return page(topic).find(row) != std::string::npos; };
    EXPECT_TRUE(shows(section) || shows(section + "." + kind)) << key.path << ", " << key.only_for;
  }
}

TEST_F(ProgramTest, InfoDescribesAConfigAndTheBuild) {
  const Result config = program.run("info config.yaml");
  EXPECT_EQ(config.code, 0) << config.err;
  for (const char* part : {"blocks.1.mlp.up.weight", "6 N + 6 L C T", "memory: ", "group: "})
    EXPECT_HAS(config.out, part);
  const Result large = program.run("info config.yaml model.layers=96 model.heads=96 model.width=12288");
  EXPECT_EQ(large.code, 0) << large.err;
  EXPECT_HAS(large.out, "TiB\n");
  const Result build = program.run("info");
  EXPECT_EQ(build.code, 0) << build.err;
  for (const char* part : {"reference", "cuda", "not available", "adamw", "softmax"}) EXPECT_HAS(build.out, part);
}

TEST_F(ProgramTest, BenchAddsUpWhatItTimed) {
  const Result result = program.run("bench config.yaml --steps 1");
  EXPECT_EQ(result.code, 0) << result.err;
  std::istringstream lines(result.out);
  int shares = 0, ops = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.size() < 79 || line.back() != '%') continue;
    shares += std::stoi(line.substr(70, 4));
    ++ops;
  }
  EXPECT_GT(ops, 20);
  EXPECT_NEAR(shares, 100, ops / 2) << result.out;  // each is rounded
  EXPECT_HAS(result.out, "sum of one micro-batch");
  EXPECT_HAS(result.out, "peak: of the matmul peak");
}

TEST_F(ProgramTest, BenchSpeaksJson) {
  const Result result = program.run("bench config.yaml --steps 2 --json");
  EXPECT_EQ(result.code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  for (const char* key : {"matmul_peak_f32", "matmul_peak_bf16", "memory_bandwidth", "peak_bytes"}) {
    EXPECT_GT(json[key], 0.0) << key;
  }
  EXPECT_NEAR(json["step"]["tokens_per_second"].get<double>() * json["step"]["milliseconds"].get<double>() / 1e3, 4 * 8,
              1e-6);
  EXPECT_GT(json["step"]["mfu"], 0.0);
  EXPECT_GT(json["ops"].size(), 15u);
  for (const auto& op : json["ops"]) EXPECT_GT(op["milliseconds"], 0.0) << op;
}

}  // namespace
}  // namespace monge
