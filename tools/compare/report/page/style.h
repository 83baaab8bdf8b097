// How a report looks: its CSS but for the colours, which come from the themes of plot.h.
#pragma once

namespace monge::compare {

inline constexpr const char* style = R"(
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100% }
body { margin: 0 auto; max-width: 84rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .8rem }
h2 { font-size: 1.35rem; margin: 3rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--grid) }
h3 { font-size: 1.05rem; margin: 2rem 0 .3rem }
p, ul { max-width: 46rem; margin: .5rem 0 }
ul { padding-left: 1.2rem }
p, li, td, figcaption { overflow-wrap: anywhere }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: 1.6rem 0 0; font-size: .92rem }
a { color: var(--series-1) }
.lints { list-style: none; padding: 0; display: grid; gap: .4rem; max-width: 52rem; margin: 1rem 0 }
.lints li { padding: .45rem .8rem; border-left: 4px solid var(--tone); background: var(--panel); font-size: .94rem }
.lints b { color: var(--tone); margin-right: .4rem }
.error { --tone: var(--bad) }
.warning { --tone: var(--series-5) }
.note { --tone: var(--quiet) }
.scroll { overflow-x: auto; margin: .9rem 0; --shade: color-mix(in srgb, var(--quiet) 55%, transparent);
  background: linear-gradient(to right, var(--paper) 30%, transparent) left / 2.5rem 100% no-repeat local,
    linear-gradient(to left, var(--paper) 30%, transparent) right / 2.5rem 100% no-repeat local,
    linear-gradient(to right, var(--shade), transparent) left / .9rem 100% no-repeat scroll,
    linear-gradient(to left, var(--shade), transparent) right / .9rem 100% no-repeat scroll }
table { border-collapse: collapse; font-size: .85rem; line-height: 1.4 }
caption { text-align: left; font-weight: 600; padding: .3rem 0 }
th, td { padding: .34rem .55rem; text-align: left; vertical-align: baseline; white-space: nowrap;
  border-bottom: 1px solid var(--grid) }
thead th { font-weight: 600; color: var(--quiet); white-space: normal;
  border-bottom: 1.5px solid var(--quiet) }
.number { text-align: right; font-variant-numeric: tabular-nums }
.long { white-space: normal; min-width: 16rem }
th[scope=row] { font-weight: 600; position: sticky; left: 0; background: var(--paper) }
.good { color: var(--good); font-weight: 600 }
.bad { color: var(--bad); font-weight: 600 }
.quiet { color: var(--quiet) }
.detail td { padding-top: 0; font-size: .78rem; color: var(--quiet); white-space: normal }
tr:has(+ .detail) > * { border-bottom: 0; padding-bottom: 0 }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; list-style: none; padding: 0; margin: .3rem 0;
  max-width: none; font-size: .88rem }
.legend li { display: flex; align-items: center; gap: .45rem }
.legend svg { width: 40px; flex: none }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1.4rem 2rem;
  align-items: end;
  margin: 1.2rem 0 }
figure { margin: 0; min-width: 0; max-width: 36rem }
figcaption { font-weight: 600; font-size: .95rem }
.views { display: flex; flex-wrap: wrap }
.views input { position: absolute; opacity: 0 }
.views label { padding: .1rem .65rem; margin-bottom: .3rem; font-size: .85rem; color: var(--quiet); cursor: pointer;
  border-bottom: 2px solid var(--grid) }
.views input:checked + label { color: var(--ink); border-color: var(--series-1) }
.views input:focus-visible + label { outline: 2px solid var(--series-1) }
.view { order: 1; width: 100% }
.views input:not(:checked) + label + .view { display: none }
svg { display: block; width: 100%; height: auto; font-family: inherit }
details { margin: .5rem 0 }
summary { cursor: pointer; padding: .15rem 0 }
pre { overflow-x: auto; padding: .8rem 1rem; background: var(--panel); font-size: .82rem; line-height: 1.45; margin: .3rem 0 }
@media print {
  body { max-width: none; font-size: 10pt }
  nav { display: none }
  .view { display: block !important }
  .views input, .views label { display: none }
  .scroll { overflow: visible; background: none }
  table { font-size: 7.5pt }
  th, td { white-space: normal; padding: .2rem .3rem }
  td.number { white-space: nowrap; overflow-wrap: normal }
  thead th { overflow-wrap: anywhere }
  .figures { grid-template-columns: 1fr 1fr }
  figure, tr, .lints li { break-inside: avoid }
}
)";

}  // namespace monge::compare
