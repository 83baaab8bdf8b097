// The page of an inspection: its data as JSON, and a script that draws them. Nothing is loaded from anywhere.
#include "tools/inspect/inspection.h"

namespace monge::tools {
namespace {

constexpr const char* style = R"(
:root { --paper: #fff; --ink: #1a1c22; --quiet: #6a7080; --grid: #dfe2ea; --panel: #f4f5f8; --mark: #c8501e }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15171c; --ink: #e6e8ee; --quiet: #9aa1b2; --grid: #333845; --panel: #1e2129; --mark: #ff8c55 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 80rem; padding: 1.2rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
h1 { font-size: 1.5rem; margin: 0 }
h2 { font-size: 1.15rem; margin: 1.6rem 0 .4rem }
p { margin: .4rem 0; max-width: 50rem }
.quiet { color: var(--quiet) }
.text { font-family: ui-monospace, "DejaVu Sans Mono", monospace; background: var(--panel); padding: .6rem .8rem;
  line-height: 1.7; overflow-wrap: anywhere }
.text span { padding: .1rem 0; white-space: pre-wrap; border-radius: 2px }
.text span.at { outline: 2px solid var(--mark) }
#grid { display: grid; gap: .5rem .4rem; align-items: end; justify-content: start; overflow-x: auto; padding: 3px }
#grid button { border: 0; padding: 0; background: none; cursor: pointer; display: block }
#grid button[aria-pressed=true] { outline: 3px solid var(--mark) }
#grid .name { font-size: .8rem; color: var(--quiet); align-self: center; padding-right: .5rem; white-space: nowrap }
canvas { display: block; image-rendering: pixelated }
#main { display: grid; grid-template-columns: minmax(0, 36rem) minmax(16rem, 1fr); gap: 1.5rem }
@media (max-width: 60rem) { #main { grid-template-columns: minmax(0, 1fr) } }
#map { width: 100%; cursor: crosshair; border: 1px solid var(--grid) }
#tip { min-height: 3.2em; font-size: .9rem }
svg { width: 100%; height: 9rem; display: block; background: var(--panel) }
figure { margin: 0 0 .9rem }
figcaption { font-size: .85rem; color: var(--quiet) }
label { margin-right: 1rem }
@media print { #tip, form { display: none } }
)";

constexpr const char* script = R"(
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const $ = (id) => document.getElementById(id);
const make = (tag, parent, text) => {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (parent) parent.append(e);
  return e;
};
const shown = (token) => token.replace(/\n/g, '\u21b5').replace(/\t/g, '\u21e5').replace(/ /g, '\u2423');
const digits = (x) => x === 0 ? '0' : Math.abs(x) >= 0.01 && Math.abs(x) < 1e4 ? x.toPrecision(3) : x.toExponential(2);
const queries = (layer) => layer.reads === 'all' ? data.source : data.tokens;
const keys = (layer) => layer.reads === 'earlier' ? data.tokens : data.source;
const state = { layer: 0, head: 0, what: 'weights', query: null, key: null };
// To begin with, the head that chooses most.
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
let least = Infinity;
data.layers.forEach((layer, l) => layer.heads.forEach((head, h) => {
  if (mean(head.entropy) < least) {
    least = mean(head.entropy);
    Object.assign(state, { layer: l, head: h });
  }
}));
const dark = matchMedia('(prefers-color-scheme: dark)').matches;

// From the paper to a full colour: blue for what is positive, orange for what is negative.
function colour(share) {
  const paper = dark ? [21, 23, 28] : [255, 255, 255];
  const full = share >= 0 ? (dark ? [120, 180, 255] : [12, 60, 140]) : (dark ? [255, 150, 90] : [200, 80, 30]);
  const t = Math.min(1, Math.sqrt(Math.abs(share)));
  return paper.map((p, i) => Math.round(p + t * (full[i] - p)));
}

function draw(canvas, matrix) {
  const rows = matrix.length, columns = matrix[0].length;
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext('2d'), image = context.createImageData(columns, rows);
  let largest = 1e-30;
  for (const row of matrix) for (const x of row) largest = Math.max(largest, Math.abs(x));
  matrix.forEach((row, i) => row.forEach((x, j) => {
    image.data.set([...colour(x / largest), 255], 4 * (i * columns + j));
  }));
  context.putImageData(image, 0, 0);
}

// Lines over 0 .. n - 1; `at` marks a place. Names and the value below the pointer stand in the caption.
function plot(parent, caption, curves, at, log) {
  curves = curves.filter((c) => c.values.length > 0);
  if (curves.length === 0) return;
  const figure = make('figure', parent), text = make('figcaption', figure, caption);
  const W = 400, H = 120, space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  svg.setAttribute('viewBox', `0 0 ${W} ${H}`);
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', caption);
  const value = (y) => log ? Math.log10(Math.max(y, 1e-12)) : y;
  const all = curves.flatMap((c) => c.values.map(value));
  const low = Math.min(...all), high = Math.max(...all), n = Math.max(...curves.map((c) => c.values.length));
  const x = (i) => n > 1 ? 4 + i / (n - 1) * (W - 8) : W / 2;
  const y = (v) => H - 6 - (high > low ? (value(v) - low) / (high - low) : 0.5) * (H - 12);
  const line = (points, width, opacity, stroke) => {
    const e = document.createElementNS(space, 'polyline');
    e.setAttribute('points', points);
    e.setAttribute('fill', 'none');
    e.setAttribute('stroke', stroke);
    e.setAttribute('stroke-width', width);
    e.setAttribute('stroke-opacity', opacity);
    e.setAttribute('vector-effect', 'non-scaling-stroke');
    svg.append(e);
  };
  const hue = (k) => curves.length === 1 ? 'currentColor' :
    `hsl(${Math.round(360 * k / curves.length)} 65% ${dark ? 65 : 40}%)`;
  curves.forEach((c, k) => line(c.values.map((v, i) => `${x(i)},${y(v)}`).join(' '), 1.6, 1, hue(k)));
  if (at !== null && at !== undefined) line(`${x(at)},0 ${x(at)},${H}`, 1, 1, 'var(--mark)');
  figure.append(svg);
  if (curves.length > 1) {
    const legend = make('figcaption', figure);
    curves.forEach((c, k) => { make('span', legend, `${c.name}  `).style.color = hue(k); });
  }
  const range = `${caption} (${digits(log ? 10 ** low : low)} to ${digits(log ? 10 ** high : high)})`;
  text.textContent = range;
  svg.addEventListener('pointermove', (event) => {
    const box = svg.getBoundingClientRect();
    const i = Math.max(0, Math.min(n - 1, Math.round((event.clientX - box.left) / box.width * (n - 1))));
    text.textContent = `${caption}, ${i}: ` +
      curves.map((c) => `${curves.length > 1 ? c.name + ' ' : ''}${digits(c.values[i] ?? NaN)}`).join(', ');
  });
  svg.addEventListener('pointerleave', () => { text.textContent = range; });
}

function showText() {
  const layer = data.layers[state.layer], head = layer.heads[state.head];
  const advantage = head.key_advantage, largest = Math.max(1e-30, ...advantage.map(Math.abs));
  for (const [id, tokens, isKeys, isQueries] of [
    ['tokens', data.tokens, layer.reads === 'earlier', layer.reads !== 'all'],
    ['source', data.source, layer.reads !== 'earlier', layer.reads === 'all']]) {
    const box = $(id);
    box.replaceChildren();
    tokens.forEach((token, i) => {
      const span = make('span', box, shown(token));
      let share = isKeys ? advantage[i] / largest : 0;
      if (isKeys && state.query !== null) share = (head[state.what][state.query][i] ?? 0) / rowLargest(head);
      if (share) span.style.background = `rgb(${colour(0.35 * share).join(' ')})`;
      if (isQueries && state.query === i) span.className = 'at';
    });
  }
}

function rowLargest(head) {
  return Math.max(1e-30, ...head[state.what][state.query].map(Math.abs));
}

function showTip() {
  const layer = data.layers[state.layer], head = layer.heads[state.head];
  const tip = $('tip');
  if (state.query === null) {
    tip.textContent = 'Point at the map: rows are queries, columns keys; colours are shares of the largest number of ' +
      'the map. In the text: the advantage of each key, summed over the queries.';
    return;
  }
  const i = state.query, j = state.key;
  tip.replaceChildren();
  make('div', tip, `query ${i} \u201c${shown(queries(layer)[i])}\u201d, key ${j} ` +
    `\u201c${shown(keys(layer)[j])}\u201d`);
  make('div', tip, `weight ${digits(head.weights[i][j])}, advantage ${digits(head.advantages[i][j])}, ` +
    `entropy of the row ${digits(head.entropy[i])} nats`);
}

function showLines() {
  const head = data.layers[state.layer].heads[state.head], lines = $('lines');
  lines.replaceChildren();
  const one = (name, values) => [{ name, values }];
  plot(lines, 'entropy of each row, nats', one('', head.entropy), state.query);
  plot(lines, 'effective rank of each row\u2019s Fisher', one('', head.effective_rank), state.query);
  plot(lines, 'dual potential of each row', one('', head.potential), state.query);
  plot(lines, 'advantage of each key', one('', head.key_advantage), state.key);
}

function showHead() {
  const layer = data.layers[state.layer], head = layer.heads[state.head];
  $('title').textContent = `${layer.name}, head ${state.head} (${layer.kind}, reads ${layer.reads})`;
  draw($('map'), head[state.what]);
  $('map').style.aspectRatio = `${head.weights[0].length} / ${head.weights.length}`;
  for (const button of document.querySelectorAll('#grid button')) {
    button.setAttribute('aria-pressed', button.dataset.at === `${state.layer} ${state.head}`);
  }
  showLines();
  const below = $('layer');
  below.replaceChildren();
  plot(below, 'singular values', layer.spectra, null, true);
  plot(below, 'log-prior against distance', layer.distance_prior);
  plot(below, 'log-prior against key', layer.key_prior);
  showText();
  showTip();
}

function point(event) {
  const head = data.layers[state.layer].heads[state.head], box = $('map').getBoundingClientRect();
  const clamp = (x, n) => Math.max(0, Math.min(n - 1, Math.floor(x * n)));
  state.query = clamp((event.clientY - box.top) / box.height, head.weights.length);
  state.key = clamp((event.clientX - box.left) / box.width, head.weights[0].length);
  showText();
  showTip();
  showLines();
}

const grid = $('grid'), heads = Math.max(...data.layers.map((l) => l.heads.length));
grid.style.gridTemplateColumns = `auto repeat(${heads}, auto)`;
data.layers.forEach((layer, l) => {
  make('div', grid, layer.name).className = 'name';
  for (let h = 0; h < heads; ++h) {
    if (h >= layer.heads.length) {
      make('div', grid);
      continue;
    }
    const button = make('button', grid), canvas = make('canvas', button);
    button.dataset.at = `${l} ${h}`;
    button.title = `${layer.name}, head ${h}`;
    draw(canvas, layer.heads[h].weights);
    canvas.style.width = '84px';
    canvas.style.height = `${84 * layer.heads[h].weights.length / layer.heads[h].weights[0].length}px`;
    button.addEventListener('click', () => {
      Object.assign(state, { layer: l, head: h, query: null, key: null });
      showHead();
    });
  }
});
$('map').addEventListener('pointermove', point);
$('map').addEventListener('pointerleave', () => {
  state.query = state.key = null;
  showText();
  showTip();
  showLines();
});
for (const input of document.querySelectorAll('input[name=what]')) {
  input.addEventListener('change', () => {
    state.what = input.value;
    showHead();
  });
}
showHead();
)";

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

/// JSON inside a script element, which "<" could end.
std::string embedded(const Json& json) {
  std::string out;
  for (const char c : json_text(json)) {
    if (c == '<') {
      out += "\\u003c";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string page_html(const Inspection& inspection) {
  std::string notes;
  for (const std::string& note : inspection.notes) notes += fmt::format("<p class=\"quiet\">{}</p>\n", escaped(note));
  const std::string title = escaped(inspection.run);
  const std::string source = inspection.source.empty() ? "" : "<p class=\"quiet\">Source</p>\n";
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Attention of {0}</title>\n"
      "<style>{1}</style>\n</head>\n<body>\n<h1>Attention</h1>\n"
      "<p class=\"quiet\">{0}, step {2}: {3} tokens, loss {4:.4f} nats per token</p>\n{5}"
      "{6}<div class=\"text\" id=\"source\"{7}></div>\n{8}<div class=\"text\" id=\"tokens\"></div>\n"
      "<h2>Every layer and head</h2>\n<div id=\"grid\"></div>\n<h2 id=\"title\"></h2>\n"
      "<form><label><input type=\"radio\" name=\"what\" value=\"weights\" checked> weights</label>"
      "<label><input type=\"radio\" name=\"what\" value=\"advantages\"> advantages (-dL/dz; orange: negative)</label>"
      "</form>\n<div id=\"main\"><div><canvas id=\"map\"></canvas><p id=\"tip\"></p></div><div "
      "id=\"lines\"></div></div>\n"
      "<h2>This layer</h2>\n<div id=\"layer\"></div>\n"
      "<script type=\"application/json\" id=\"data\">{9}</script>\n<script>{10}</script>\n</body>\n</html>\n",
      title, style, inspection.step, inspection.tokens.size(), inspection.loss, notes, source,
      inspection.source.empty() ? " hidden" : "", inspection.source.empty() ? "" : "<p class=\"quiet\">Target</p>\n",
      embedded(to_json(inspection)), script);
}

}  // namespace monge::tools
