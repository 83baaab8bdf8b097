// The report as files: complete, safe to open, the same every time.
#include "tools/compare/report/report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <regex>
#include <set>

#include "support/expect_error.h"
#include "support/made_up_results.h"
#include "support/temp_directory.h"
#include "tools/compare/report/figures.h"
#include "tools/compare/report/page/wording.h"

namespace monge::compare {
namespace {

using test::read_file;
using test::Realistic;
using test::TempDirectory;

bool gnuplot_is_there() { return std::system("gnuplot --version > /dev/null 2>&1") == 0; }

#define NEEDS_GNUPLOT() \
  if (!gnuplot_is_there()) GTEST_SKIP() << "gnuplot is not installed (gnuplot-nox)"

Page page_of(const Results& results) {
  const Analysis analysis = analyse(results);
  return make_page(results, analysis, find_lints(results, analysis));
}

std::string html_of(const Results& results) { return to_html(page_of(results)); }

/// That of the realistic comparison, drawn once.
const std::string& realistic_html() {
  static const std::string html = html_of(Realistic::results());
  return html;
}

std::string unescaped(std::string text) {
  for (const auto& [code, character] :
       {std::pair("&lt;", "<"), {"&gt;", ">"}, {"&quot;", "\""}, {"&#39;", "'"}, {"&amp;", "&"}}) {
    for (std::size_t i = text.find(code); i != std::string::npos; i = text.find(code, i + 1)) {
      text.replace(i, std::string(code).size(), character);
    }
  }
  return text;
}

/// The first fault in the nesting of the tags, or nothing.
std::string nesting_fault(const std::string& html) {
  const std::set<std::string> open_only = {"meta", "input", "!DOCTYPE"};
  std::vector<std::string> open;
  for (std::size_t i = html.find('<'); i != std::string::npos; i = html.find('<', i + 1)) {
    if (html.compare(i, 6, "<style") == 0) i = html.find("</style", i);  // holds no tags
    const std::size_t end = html.find('>', i);
    if (end == std::string::npos) return "a tag that does not end: " + html.substr(i, 40);
    const bool closes = html[i + 1] == '/';
    std::size_t stop = i + (closes ? 2 : 1);
    const std::size_t start = stop;
    while (stop < end && (std::isalnum(static_cast<unsigned char>(html[stop])) || html[stop] == '!')) ++stop;
    const std::string name = html.substr(start, stop - start);
    if (name.empty()) return "a bare <: " + html.substr(i, 40);
    if (name == "style" || open_only.contains(name) || html[end - 1] == '/') continue;
    if (!closes) {
      open.push_back(name);
    } else if (open.empty() || open.back() != name) {
      return "</" + name + "> after <" + (open.empty() ? "nothing" : open.back()) + ">";
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : "<" + open.back() + "> stays open";
}

TEST(ReportTest, TheParserOfTheseTestsFindsFaults) {
  EXPECT_EQ(nesting_fault("<p><b>x</b><input></p>"), "");
  EXPECT_NE(nesting_fault("<p><b>x</p></b>"), "");
  EXPECT_NE(nesting_fault("<p>"), "");
  EXPECT_NE(nesting_fault("a < b"), "");
}

TEST(ReportTest, HtmlIsWellNestedAndItsIdsAreUnique) {
  NEEDS_GNUPLOT();
  const std::string& html = realistic_html();
  EXPECT_EQ(nesting_fault(html), "");
  std::set<std::string> ids;
  for (std::size_t i = html.find(" id="); i != std::string::npos; i = html.find(" id=", i + 1)) {
    const std::string id = html.substr(i + 5, html.find(html[i + 4], i + 5) - i - 5);
    EXPECT_TRUE(ids.insert(id).second) << id;
  }
  EXPECT_GT(ids.size(), 100u);
  for (std::size_t i = html.find("href='#"); i != std::string::npos; i = html.find("href='#", i + 1)) {
    EXPECT_TRUE(ids.contains(html.substr(i + 7, html.find('\'', i + 7) - i - 7)));
  }
}

TEST(ReportTest, HtmlNeedsNothingButItself) {
  NEEDS_GNUPLOT();
  const std::string& html = realistic_html();
  for (const char* part :
       {"http:", "https:", "src=", "url(", "@import", "<script", "<link", "<iframe", "xmlns", "<?xml"}) {
    EXPECT_EQ(html.find(part), std::string::npos) << part;
  }
  for (std::size_t i = html.find("href="); i != std::string::npos; i = html.find("href=", i + 1)) {
    EXPECT_EQ(html[i + 6], '#') << html.substr(i, 60);
  }
}

TEST(ReportTest, PlotsFollowTheThemeOfThePage) {
  NEEDS_GNUPLOT();
  const std::string& html = realistic_html();
  const std::string styles = html.substr(0, html.find("</style>")), plots = html.substr(html.find("<svg"));
  // Every colour that gnuplot wrote is one of no colour, or has a rule that makes it one of the page's.
  const std::regex colour(R"re([ \t](stroke|fill|color)\s*=\s*['"]([^'"]*)['"])re");
  std::set<std::string> rules;
  for (std::sregex_iterator match(plots.begin(), plots.end(), colour), end; match != end; ++match) {
    const std::string property = (*match)[1], value = (*match)[2];
    if (value == "none" || value == "currentColor") continue;
    const std::size_t rule = styles.find(fmt::format("\n[{}=\"{}\"] {{ {}: ", property, value, property));
    ASSERT_NE(rule, std::string::npos) << property << " " << value;
    rules.insert(styles.substr(rule, styles.find('}', rule) - rule));
  }
  for (const char* part : {"stroke: var(--series-0)", "stroke: var(--series-3)", "stroke: var(--grid)",
                           "fill: var(--quiet)", "fill: currentColor", "color: var(--series-1)"}) {
    EXPECT_TRUE(std::ranges::any_of(rules, [&](const std::string& rule) {
      return rule.find(part) != std::string::npos;
    })) << part;
  }
  EXPECT_EQ(plots.find("GNUPLOT"), std::string::npos);
}

TEST(ReportTest, EveryRunAndLintIsThere) {
  NEEDS_GNUPLOT();
  const Results results = Realistic::results();
  const std::string html = unescaped(realistic_html()), markdown = to_markdown(page_of(results));
  for (const compare::Run& run : results.runs) {
    EXPECT_HAS(html, ">" + run.hash + "<");
    EXPECT_HAS(html, run.message);
    EXPECT_HAS(html, run.config);
    EXPECT_HAS(markdown, "| " + run.hash + " |");
  }
  const std::vector<Lint> lints = find_lints(results, analyse(results));
  EXPECT_GT(lints.size(), 5u);
  for (const Lint& lint : lints) EXPECT_HAS(html, lint.text);
  for (const Variant& variant : results.variants) EXPECT_HAS(html, variant.config);
  EXPECT_HAS(html, results.comparison);
  EXPECT_HAS(html, results.machine);
  EXPECT_HAS(html, "not reached");
}

TEST(ReportTest, WhatTheUserWroteIsText) {
  NEEDS_GNUPLOT();
  Results results = Realistic::results();
  const std::string evil = "<b onclick=\"x\">&'` | $x @y 10% a%g %\n\"</td>";
  results.title = results.description = results.machine = evil;
  for (Variant& variant : results.variants) variant.name = variant.config = evil;
  for (Workload& workload : results.workloads) workload.name = workload.data = workload.target_source = evil;
  for (compare::Run& run : results.runs) run.message = run.config = run.hash = evil;
  const std::string html = html_of(results);
  EXPECT_EQ(nesting_fault(html), "");
  EXPECT_EQ(html.find("<b onclick"), std::string::npos);
  EXPECT_HAS(html, "&lt;b onclick=&quot;x&quot;&gt;&amp;&#39;");
  const std::string markdown = to_markdown(page_of(results));
  EXPECT_EQ(markdown.substr(0, markdown.find("```")).find("<b"), std::string::npos);
  EXPECT_HAS(markdown, "\\| $x");
}

TEST(ReportTest, PlotsShowNamesAsTheyAre) {
  NEEDS_GNUPLOT();
  Results results = Realistic::results();
  for (std::size_t v = 0; v < results.variants.size(); ++v) results.variants[v].name = fmt::format("'{}' a%g 10%", v);
  const std::string html = unescaped(html_of(results));
  const std::string other = results.baseline == 0 ? "'1' a%g 10%" : "'0' a%g 10%";
  const std::size_t plot = html.find("<svg");
  EXPECT_EQ(html.find("%%"), std::string::npos);
  EXPECT_NE(html.find(other, plot), std::string::npos);
}

TEST(ReportTest, TheSameResultsGiveTheSameFiles) {
  NEEDS_GNUPLOT();
  const TempDirectory one, two;
  write_report(Realistic::results(), one / "new");
  write_report(Realistic::results(), two.path());
  for (const char* file : {"report.html", "report.md", "results.csv"}) {
    EXPECT_FALSE(read_file(two / file).empty()) << file;
    EXPECT_EQ(read_file(one / "new" / file), read_file(two / file)) << file;
  }
}

std::vector<std::string> split(const std::string& line, char separator) {
  std::vector<std::string> parts(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '"') quoted = !quoted;
    if (c == separator && !quoted) {
      parts.emplace_back();
    } else if (c != '"') {
      parts.back() += c;
    }
  }
  return parts;
}

TEST(ReportTest, MarkdownAndCsvHoldTheSameNumbers) {
  const Results results = Realistic::results();
  const Analysis analysis = analyse(results);
  const std::string markdown = unescaped(to_markdown(make_page(results, analysis, {})));
  std::istringstream csv(to_csv(results, analysis));
  std::string line;
  std::getline(csv, line);
  const std::vector<std::string> head = split(line, ',');
  int rows = 0;
  while (std::getline(csv, line)) {
    const std::vector<std::string> fields = split(line, ',');
    ASSERT_EQ(fields.size(), head.size()) << line;
    const auto field = [&](const char* name) {
      return fields[static_cast<std::size_t>(std::ranges::find(head, name) - head.begin())];
    };
    const std::string variant = field("variant");
    ++rows;
    if (field("mean_loss") == "inf") {
      EXPECT_HAS(markdown, "| " + variant + " | " + field("verdict") + " | diverged |");
    } else if (!field("difference").empty()) {
      // In the row of this variant some cell begins with each number, at some number of decimals.
      bool found = false;
      for (int digits = 3; digits <= 6 && !found; ++digits) {
        const std::string start = "| " + variant + " | ";
        const std::string mean = with_error(std::stod(field("mean_loss")), std::stod(field("sd")), digits);
        const std::string apart = difference(std::stod(field("difference")), digits) + " \\[";
        for (std::size_t i = markdown.find(start); i != std::string::npos && !found; i = markdown.find(start, i + 1)) {
          const std::string row = markdown.substr(i, markdown.find('\n', i) - i);
          found = row.find(mean) != std::string::npos && row.find(apart) != std::string::npos &&
                  row.find(" | " + p_value(std::stod(field("p")))) != std::string::npos;
        }
      }
      EXPECT_TRUE(found) << line;
    }
  }
  EXPECT_EQ(rows, 20);
}

TEST(ReportTest, AccuracyIsShownWhereAnswersAreDetermined) {
  Results results = Realistic::results();
  EXPECT_EQ(to_markdown(page_of(results)).find("| accuracy |"), std::string::npos);
  for (compare::Run& run : results.runs) {
    if (run.workload == 1) run.points.back().val_accuracy = run.variant == 0 ? 0.99999 : 0.5;
  }
  results.workloads[1].target = 0.99;
  results.workloads[1].target_is_accuracy = true;
  const std::string markdown = to_markdown(page_of(results));
  EXPECT_HAS(markdown, "| optimizer | result | accuracy | final loss |");
  EXPECT_HAS(markdown, "| adamw | baseline | 99.99% |");
  EXPECT_HAS(markdown, "| lion | higher | – | diverged |");
  EXPECT_HAS(markdown, "| adamw | mess3 | 99.00% | 8 of 8 | ");
  EXPECT_HAS(to_csv(results, analyse(results)), ",0.99,accuracy,8,");
}

TEST(ReportTest, WithoutGnuplotTheNumbersAreThere) {
  const TempDirectory folder, empty;
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", empty.path().c_str(), 1);
  const std::string message = error_of<RunError>([&] { write_report(Realistic::results(), folder.path()); });
  ::setenv("PATH", path.c_str(), 1);
  EXPECT_HAS(message, "gnuplot is not installed");
  EXPECT_HAS(message, "apt-get install gnuplot-nox");
  EXPECT_HAS(message, "report.md and results.csv are in");
  EXPECT_HAS(read_file(folder / "report.md"), "# Four optimizers");
  EXPECT_HAS(read_file(folder / "results.csv"), "mean_loss");
  EXPECT_FALSE(std::filesystem::exists(folder / "report.html"));
}

TEST(ReportTest, AScriptThatGnuplotRefusesIsAnError) {
  NEEDS_GNUPLOT();
  EXPECT_HAS(error_of<RunError>([] { draw({.script = "plot nonsense\n"}, "x"); }), "nonsense");
}

// "optimizer" is said of variants that set nothing else.
TEST(ReportTest, VariantsHaveTheirName) {
  Results results = test::planted({0.0, 0.1}, 3, 1);
  results.variants[0].config = "";
  results.variants[1].config = "optimizer: {name: muon}";
  EXPECT_EQ(variant_noun(results), "optimizer");
  for (const char* config : {"model: {bias: true}", "optimizer: {lr: 1}\ntrain: {batch: 2}", "["}) {
    results.variants[1].config = config;
    EXPECT_EQ(variant_noun(results), "variant") << config;
  }
  NEEDS_GNUPLOT();
  results.variants[1].config = "model: {bias: true}";
  EXPECT_HAS(html_of(results), "Every variant was tuned once");
}

TEST(ReportTest, TheMatrixHasASignForEveryVerdict) {
  const std::string markdown = to_markdown(page_of(Realistic::results()));
  const std::string head = "| optimizer | markov2 at 1× | markov2 at 2× | markov2 at 4× | mess3 | shakespeare |";
  EXPECT_HAS(markdown, head);
  EXPECT_LT(markdown.find(head), markdown.find("Every optimizer was tuned once"));  // it comes first
  const std::size_t muon = markdown.find("| muon | ▼ 0.6"), adamw = markdown.find("| adamw | 2.444 |"),
                    lion = markdown.find("| lion | ▲ 1.2");
  EXPECT_LT(muon, adamw);  // the best first
  EXPECT_LT(adamw, lion);
  EXPECT_LT(lion, markdown.find("## Final loss"));
  EXPECT_HAS(markdown, "| soap | · ");
  EXPECT_HAS(markdown, "Lower final loss than adamw: muon (5 of 5) and soap (1 of 5). Higher: lion (5 of 5).");
  EXPECT_HAS(markdown, "With runs that diverged: lion (1 of 5).");

  Results margin = test::planted({0.0, 0.0, 0.5}, 12, 1, 1e-4);
  margin.margin = 0.1;
  EXPECT_HAS(to_markdown(page_of(margin)), "| v1 | ≈ ");
  Results solved = test::planted({0.0, 0.0}, 8, 1, 1e-5);
  for (compare::Run& run : solved.runs) run.final_loss = 2.0 + 1e-4 * std::abs(run.final_loss - 2.0);
  solved.workloads[0].optimum = 1.9999;
  EXPECT_HAS(to_markdown(page_of(solved)), "| v1 | ✓ ");
}

/// How often `part` is there.
std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t i = text.find(part); i != std::string::npos; i = text.find(part, i + 1)) ++count;
  return count;
}

TEST(ReportTest, RunsThatTookNoStepHaveNoCurves) {
  NEEDS_GNUPLOT();
  Results results = test::planted({0.0, 0.1}, 3, 1);
  for (compare::Run& run : results.runs) run.points = {{.val_loss = run.final_loss}};
  EXPECT_EQ(nesting_fault(html_of(results)), "");
}

TEST(ReportTest, ThirtyVariantsHaveAReport) {
  NEEDS_GNUPLOT();
  std::vector<double> shifts;
  for (int i = 0; i < 30; ++i) shifts.push_back(0.1 * i);
  const Results results = test::planted(shifts, 6, 1);
  const std::string html = html_of(results);
  EXPECT_EQ(nesting_fault(html), "");
  EXPECT_HAS(html, "<td>D</td>");  // the thirtieth group
  // Not thirty lines in one plot: eight panels, each with the baseline and a legend of its own.
  const std::size_t curves = html.find("<h2>Loss curves"), end = html.find("</section>", curves);
  const std::string section = html.substr(curves, end - curves);
  EXPECT_EQ(count_of(section, "<ul class=\"legend\">"), 8U);
  EXPECT_EQ(count_of(section, "v0</li>"), 8U);
  EXPECT_EQ(count_of(section, "v29</li>"), 1U);
}

TEST(ReportTest, FewVariantsShareOneLegend) {
  NEEDS_GNUPLOT();
  const std::string& html = realistic_html();
  const std::size_t curves = html.find("<h2>Loss curves"), end = html.find("</section>", curves);
  const std::string section = html.substr(curves, end - curves);
  EXPECT_EQ(count_of(section, "<ul class=\"legend\">"), 1U);
  EXPECT_EQ(count_of(section, "<figure>"), 5U);
}

TEST(ReportTest, SecondsAreOfRunsThatHadCoresOfTheirOwn) {
  Results results = Realistic::results();
  const std::string with = to_markdown(page_of(results)), csv = to_csv(results, analyse(results));
  EXPECT_HAS(with, "| ms per step |");
  EXPECT_HAS(with, "| steps | time |");
  EXPECT_EQ(with.find("Seconds are not reported"), std::string::npos);
  const std::function<void(compare::Run&)> faults[] = {
      [](compare::Run& run) { run.own_cores = false; },
      [](compare::Run& run) { run.device = "another processor"; },
      [](compare::Run& run) { run.made_by = "another program"; },
  };
  for (const auto& fault : faults) {
    results = Realistic::results();
    fault(*std::ranges::find(results.runs, Stage::report, &compare::Run::stage));
    const std::string markdown = to_markdown(page_of(results));
    EXPECT_EQ(markdown.find("| ms per step |"), std::string::npos);
    EXPECT_EQ(markdown.find("| time |"), std::string::npos);
    EXPECT_EQ(markdown.find("| time of a step |"), std::string::npos);
    EXPECT_EQ(markdown.find("| score by seconds |"), std::string::npos);
    EXPECT_HAS(markdown, "Seconds are not reported");
    EXPECT_NE(to_csv(results, analyse(results)), csv);
  }
}

TEST(ReportTest, StepsToTheBaselinesLossAreNextToTheTimeOfAStep) {
  Results results = Realistic::results();
  const Analysis analysis = analyse(results);
  const Row& row = analysis.tables[0].row_of(1);
  const std::string markdown = to_markdown(page_of(results));
  EXPECT_HAS(markdown, "## Steps to the loss with which adamw ends");
  const int digits = ratio_decimals(*row.catch_up->interval);
  const Interval& shares = *row.catch_up->interval;
  EXPECT_HAS(markdown, fmt::format("| muon | markov2 at 1× | {} \\[{}, {}\\] | 0 of 8 | {} |",
                                   factor(row.catch_up->ratio, digits), fixed(shares.low, digits),
                                   fixed(shares.high, digits), factor(row.cost.slowdown)));
  EXPECT_HAS(markdown, "| lion | markov2 at 1× | at least 1.00× \\[1.00, ∞\\] | 8 of 8 |");
  EXPECT_HAS(markdown, "| 2 of 8: seeds 2, 8 |");
  EXPECT_HAS(to_csv(results, analysis), fmt::format(",{},{},{},0,", row.catch_up->ratio, shares.low, shares.high));
  NEEDS_GNUPLOT();
  EXPECT_HAS(realistic_html(), "<h2>Steps to the loss with which adamw ends");
}

TEST(ReportTest, SaysWhichProgramsWereBelieved) {
  Results results = Realistic::results();
  EXPECT_EQ(to_markdown(page_of(results)).find("Borrowed"), std::string::npos);
  results.runs[0].made_by = results.runs[1].made_by = "older";
  results.verdicts = {
      {.made_by = "older", .variant = "soap", .workload = "mess3", .borrowed = 2, .made_again = 1},
      {.made_by = "older", .variant = "lion", .workload = "mess3", .borrowed = 9, .made_again = 3},
      {.made_by = "oldest", .variant = "muon", .workload = "w", .borrowed = 7, .made_again = 5, .different = 4}};
  const std::string markdown = to_markdown(page_of(results));
  EXPECT_HAS(markdown, fmt::format("Borrowed: 2 of the {} runs here, made by older. They count because 4 runs made "
                                   "again by this program (soap on mess3 and lion on mess3) came out the same",
                                   results.runs.size()));
  EXPECT_HAS(markdown, "Refused: 7 runs of muon on w, made by oldest. Of 5 made again by this program, 4 came out");
}

TEST(ReportTest, SettingsAreThoseOfTheBudget) {
  Results results = Realistic::results();
  EXPECT_HAS(to_markdown(page_of(results)), "Settings were tuned at the budget 1 and kept at the others");
  const std::vector<Tuned> at_recipe = results.tuned;
  for (const double budget : {2.0, 4.0}) {
    for (Tuned tuned : at_recipe) {
      if (tuned.workload != 0) continue;
      tuned.budget = budget;
      tuned.axes = {{"optimizer.lr", 0.123 * budget}};
      results.tuned.push_back(tuned);
    }
  }
  const std::string markdown = to_markdown(page_of(results)), csv = to_csv(results, analyse(results));
  EXPECT_EQ(markdown.find("kept at the others"), std::string::npos);
  EXPECT_HAS(markdown, "| muon | markov2 at 4× | optimizer.lr 0.492 |");
  EXPECT_HAS(csv, "\"markov2\",2,\"muon\",\"optimizer.lr 0.246\",7,");
}

TEST(ReportTest, PointsOfABoxSayNothingOfOneRate) {
  Results results = Realistic::results();
  EXPECT_HAS(to_markdown(page_of(results)), "## Sensitivity to the learning rate");
  results.in_boxes = true;
  const std::string markdown = to_markdown(page_of(results));
  EXPECT_EQ(markdown.find("## Sensitivity"), std::string::npos);
  EXPECT_HAS(markdown, "## Search");
}

TEST(ReportTest, NothingBelowTheBestPossibleLossIsSolved) {
  Results results = test::planted({0.0, 0.0}, 8, 1, 1e-5);
  results.workloads[0].optimum = 2.1;
  EXPECT_EQ(to_markdown(page_of(results)).find("✓ "), to_markdown(page_of(results)).find("✓ both"));
}

TEST(ReportTest, NothingIsSaidOfRunsThatAreNotThere) {
  Results results = test::planted({0.0, 0.1}, 3, 1);
  results.runs.clear();
  const std::string markdown = to_markdown(page_of(results));
  EXPECT_HAS(markdown, "No run of the settings found has ended yet: nothing is claimed.");
  EXPECT_EQ(markdown.find("What is claimed is of"), std::string::npos);
}

TEST(ReportTest, BudgetsAreDrawnByExcess) {
  const auto plots = budget_figures(Realistic::results(), analyse(Realistic::results()));
  ASSERT_EQ(plots.size(), 1U);
  EXPECT_HAS(plots[0].views[0].plot.script, "mean final excess loss");
  EXPECT_HAS(plots[0].views[0].plot.script, "set logscale y");
}

TEST(ReportTest, SparseResultsHaveAReportToo) {
  NEEDS_GNUPLOT();
  for (Results results :
       {test::planted({0.0}, 1, 1), test::planted({0.0, 0.1}, 1, 1), test::planted({0.0, 0.1}, 3, 1)}) {
    EXPECT_EQ(nesting_fault(html_of(results)), "");
    for (compare::Run& run : results.runs) run.status = compare::Run::Status::diverged;
    EXPECT_EQ(nesting_fault(html_of(results)), "");
    for (compare::Run& run : results.runs) run.stage = Stage::tune, run.axes = {{"optimizer.lr", 1e-3}};
    EXPECT_EQ(nesting_fault(html_of(results)), "");
    results.runs.clear();
    EXPECT_EQ(nesting_fault(html_of(results)), "");
  }
}

double luminance(std::string_view hex) {
  const auto channel = [&](std::size_t i) {
    const double c = std::stoi(std::string(hex.substr(i, 2)), nullptr, 16) / 255.0;
    return c <= 0.04045 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4);
  };
  return 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5);
}

TEST(ReportTest, LinesStandOutInBothThemes) {  // contrast as in WCAG 2.1: 3 for graphics, 4.5 for text
  for (const Theme& theme : {light_theme(), dark_theme()}) {
    const auto contrast = [&](std::string_view colour) {
      const double a = luminance(colour), b = luminance(theme.paper);
      return (std::max(a, b) + 0.05) / (std::min(a, b) + 0.05);
    };
    for (const std::string_view colour : theme.series) EXPECT_GE(contrast(colour), 4.5) << colour;
    EXPECT_GE(contrast(theme.ink), 7.0);
    EXPECT_GE(contrast(theme.quiet), 4.5);
    EXPECT_EQ(theme.series.front(), theme.ink);
  }
}

TEST(Wording, NumbersForPeople) {
  EXPECT_EQ(with_error(1.89123, 0.0031, decimals_for(0.0031)), "1.8912 ± 0.0031");
  EXPECT_EQ(decimals_for(0.0), 4);
  EXPECT_EQ(decimals_for(12.0), 0);
  EXPECT_EQ(difference(-0.01234, 3), "−0.012");
  EXPECT_EQ(difference(0.01234, 3), "+0.012");
  EXPECT_EQ(difference(-0.00001, 3), "0.000");
  EXPECT_EQ(p_value(0.00001), "< 0.0001");
  EXPECT_EQ(p_value(0.01234), "0.0123");
  EXPECT_EQ(percent(1.0 - 0.05), "95%");
  EXPECT_EQ(accuracy_text(1.0), "100.00%");
  EXPECT_EQ(accuracy_text(0.999999), "99.99%");
  EXPECT_EQ(accuracy_text(0.29), "29.00%");
  EXPECT_EQ(duration(std::numeric_limits<double>::infinity()), "not reached");
  EXPECT_EQ(duration(90.0), "90.0 s");
  EXPECT_EQ(duration(600.0), "10.0 min");
  EXPECT_EQ(amount(1234567.0), "1,234,567");
  EXPECT_EQ(bytes(3 << 20), "3.0 MiB");
  EXPECT_EQ(ratio_decimals({0.9, 1.1}), 2);
  EXPECT_EQ(ratio_decimals({1.0012, 1.2}), 3);
  EXPECT_EQ(ratio_decimals({0.8, 1.0}), 2);
  EXPECT_EQ(factor_interval({1.0012, 1.2}, 3), "[1.001, 1.200]");
  EXPECT_EQ(factor(1e8), "more than 1000×");
  EXPECT_EQ(factor_interval({1.1, std::numeric_limits<double>::infinity()}), "[1.10, ∞]");
  EXPECT_EQ(settings({{"optimizer.lr", 0.0025}, {"optimizer.weight_decay", 0.1}}),
            "optimizer.lr 0.0025, optimizer.weight_decay 0.1");
  EXPECT_EQ(listing({"a", "b", "c"}), "a, b and c");
  EXPECT_EQ(count(1, "run") + count(2, "run"), "1 run2 runs");
}

}  // namespace
}  // namespace monge::compare
