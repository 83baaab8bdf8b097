#include <fmt/format.h>

#include "tools/plot/gnuplot.h"
#include "tools/verify/papers/in_context.h"

namespace monge::tools {
namespace {

constexpr int panel_width = 440, height = 340;
// Middle tones, readable on light and on dark pages.
constexpr const char* text_colour = "#737d88";
constexpr const char* colours[] = {"#3f83e0", "#d9772b", "#4c9f70", "#9a6dd7"};

std::string screen(double left) {
  return fmt::format("set lmargin at screen {}\nset rmargin at screen {}\n", left + 0.07, left + 0.48);
}

/// Learned windows against the best ones, a colour for each kind.
std::string windows_panel(const InContextStudy& study) {
  std::string data, curves;
  for (const auto kind : {TaskLaw::Kind::affine, TaskLaw::Kind::relu, TaskLaw::Kind::cosine}) {
    std::vector<std::vector<double>> rows;
    for (const auto& p : study.points) {
      if (p.law.kind != kind) continue;
      rows.push_back({p.best.w, p.learned});
    }
    data += data_block(name_of(kind), rows);
    curves += fmt::format("${0} using 1:2 with points pt 7 ps 0.9 lc rgb '{1}' title '{0}', ", name_of(kind),
                          colours[static_cast<std::size_t>(kind)]);
  }
  return data + screen(0.0) +
         fmt::format(
             "set logscale xy\nset xrange [2:16]\nset yrange [2:16]\nset xtics (2, 4, 8, 16)\nset ytics (2, 4, 8, "
             "16)\nset key top left\n"
             "set title 'windows' textcolor rgb '{0}'\nset xlabel 'w of the least error' textcolor rgb '{0}'\n"
             "set ylabel 'w learned' textcolor rgb '{0}'\nplot {1}x with lines lw 2 dt (6,3) lc rgb '#8a939d' "
             "title 'equal'\n",
             text_colour, curves);
}

/// Errors on fixed tasks against steps, relative to that of the best w I.
std::string updates_panel(const InContextStudy& study) {
  std::string data, curves;
  for (std::size_t u = 0; u < study.updates.size(); ++u) {
    const UpdateRun& run = study.updates[u];
    std::vector<std::vector<double>> rows;
    for (std::size_t i = 0; i < run.errors.size(); ++i) {
      rows.push_back({static_cast<double>((i + 1) * UpdateRun::measured_every), run.errors[i]});
    }
    data += data_block(run.update, rows);
    curves += fmt::format("${0} using 1:2 with lines lw 2 lc rgb '{1}' title '{0}', ", run.update, colours[u]);
  }
  return data + screen(0.5) +
         fmt::format(
             "unset logscale\nset logscale y\nset xtics autofreq\nset ytics autofreq\nset xrange [0:100]\nset yrange "
             "[0.5:50]\nset key top right\n"
             "set title 'error, relative to the best w I' textcolor rgb '{0}'\n"
             "set xlabel 'steps' textcolor rgb '{0}'\nunset ylabel\nplot {1}1 with lines lw 2 dt (6,3) lc rgb "
             "'#8a939d' notitle\n",
             text_colour, curves);
}

}  // namespace

std::string in_context_svg(const InContextStudy& study) {
  const std::string frame = fmt::format(
      "set border 3 lc rgb '{0}'\nset tics nomirror textcolor rgb '{0}'\nset key textcolor rgb '{0}' noenhanced\n"
      "set multiplot\n",
      text_colour);
  return gnuplot_svg(frame + windows_panel(study) + updates_panel(study), 2 * panel_width, height);
}

}  // namespace monge::tools
