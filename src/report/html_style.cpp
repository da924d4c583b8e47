#include <string_view>

#include "report/html_page.h"

namespace gradflow {

namespace {

constexpr std::string_view style = R"css(
:root { --ink: #1a1a1a; --muted: #595959; --rule: #dcdcdc; --accent: #0072b2; --wash: #f5f7f9; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; color: var(--ink); background: #fff; line-height: 1.55;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; }
.skip { position: absolute; left: -999rem; }
.skip:focus { left: 1rem; top: 1rem; padding: .5rem 1rem; background: #fff; outline: 2px solid var(--accent); }
header, main, footer { max-width: 54rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 3rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .35rem; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 3.5rem 0 .75rem; padding-top: 1.25rem;
  border-top: 1px solid var(--rule); letter-spacing: -.005em; }
h3 { font-size: 1rem; margin: 1.75rem 0 .5rem; }
figure h3 { margin-top: 0; }
p { margin: 0 0 1rem; max-width: 42rem; }
.muted, figcaption, .note { color: var(--muted); }
.subtitle { color: var(--muted); margin: 0; overflow-wrap: anywhere; }
.verdict { margin: 2rem 0 0; padding: 0 0 0 1.1rem; border-left: 4px solid var(--accent); }
.verdict p { font-size: 1.2rem; line-height: 1.5; margin: 0 0 .6rem; max-width: 46rem; }
.verdict p:last-child { margin: 0; }
.facts { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1.5rem 2rem; margin: 2.25rem 0 0; }
.facts div { min-width: 0; }
.facts dt { color: var(--muted); font-size: .875rem; }
.facts dd { margin: 0; }
.facts .value { font-size: 1.5rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.facts .meaning { color: var(--muted); font-size: .875rem; line-height: 1.4; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 2.25rem 0 0; padding: 0;
  font-size: .9375rem; }
a { color: var(--accent); text-underline-offset: .15em; }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
figure { margin: 1.5rem 0 2.5rem; }
figure svg { display: block; width: 100%; height: auto; max-width: 760px; }
figure .narrow { display: none; }
figcaption { font-size: .9375rem; max-width: 42rem; margin-top: .5rem; }
details { margin-top: .6rem; font-size: .9375rem; }
summary { cursor: pointer; color: var(--accent); padding: .15rem 0; }
.scroll { overflow-x: auto; margin: .75rem 0 1.25rem; }
.tall { max-height: 24rem; overflow-y: auto; }
table { border-collapse: collapse; font-size: .9375rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--muted); padding-bottom: .4rem; }
th, td { text-align: right; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
th, td { white-space: nowrap; }
.words td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.words th { text-align: left; white-space: normal; font-weight: 400; color: var(--muted); padding-right: 1.5rem; }
thead th { font-weight: 600; border-bottom: 1px solid var(--muted); white-space: normal;
  vertical-align: bottom; }
tbody th { font-weight: 400; }
tr.chosen th, tr.chosen td { background: var(--wash); font-weight: 600; }
ul.warnings { padding-left: 1.1rem; max-width: 42rem; }
.missing { color: var(--muted); border-left: 3px solid var(--rule); padding-left: .9rem; }
pre { background: var(--wash); padding: .9rem 1rem; overflow-x: auto; font-size: .875rem; line-height: 1.5;
  white-space: pre-wrap; overflow-wrap: anywhere; }
footer { padding: 2.5rem 1.25rem 4rem; color: var(--muted); font-size: .875rem; }
@media (max-width: 640px) {
  header { padding-top: 1.75rem; }
  header, main, footer { padding-left: 1.25rem; padding-right: 1.25rem; }
  h1 { font-size: 1.4rem; }
  h2 { margin-top: 2.5rem; }
  .verdict p { font-size: 1.0625rem; }
  .facts { grid-template-columns: repeat(2, 1fr); gap: 1.1rem 1.25rem; }
  .facts .value { font-size: 1.25rem; }
  figure .wide { display: none; }
  figure .narrow { display: block; }
  th, td { padding-right: .75rem; }
}
@media print {
  body { font-size: 10pt; }
  header, main, footer { max-width: none; padding: 0; }
  nav, .skip { display: none; }
  h2 { break-after: avoid; margin-top: 1.5rem; }
  figure, tr { break-inside: avoid; }
  figure .wide { display: block; }
  figure .narrow { display: none; }
  figure details { display: none; }
  .scroll, .tall { overflow: visible; max-height: none; }
  a { color: inherit; text-decoration: none; }
}
)css";

}  // namespace

std::string html_style() { return std::string(style); }

}  // namespace gradflow
