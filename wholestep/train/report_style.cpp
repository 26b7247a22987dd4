// Colours are variables with a light and a dark value; everything else is written once. The two series
// colours differ in hue and lightness, so that they stay apart for colour-blind readers and in print.
#include "wholestep/train/report_style.h"

namespace wholestep {

std::string_view report_style() {
  return R"css(:root {
  --page: #f4f5f7; --card: #ffffff; --ink: #1a1f29; --quiet: #667085; --hair: #e4e7ec; --grid: #eaecf0;
  --train: #2f6fdb; --validation: #d9730d; --single: #2f6fdb; --right: #2f6fdb; --wrong: #d6402b; --on: #ffffff;
  --kind1: #2f6fdb; --kind2: #7a5bd0; --kind3: #98a2b3; --kind4: #1a9e8f; --kind5: #d9730d;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1217; --card: #171b22; --ink: #e6e9ef; --quiet: #98a2b3; --hair: #2a303b; --grid: #262c36;
    --train: #6ea3ff; --validation: #f5a04c; --single: #6ea3ff; --right: #5b94f5; --wrong: #f0705c; --on: #0f1217;
    --kind1: #6ea3ff; --kind2: #a58cf2; --kind3: #667085; --kind4: #4cc7b8; --kind5: #f5a04c;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 32px 24px 64px; display: grid; gap: 20px; }
header h1 { margin: 0 0 4px; font-size: 30px; line-height: 1.2; letter-spacing: -0.01em; }
header p { margin: 0; }
h2 { margin: 0 0 10px; font-size: 16px; font-weight: 600; }
h3 { margin: 0 0 6px; font-size: 14px; font-weight: 600; }
table + h3, .scroll + h3 { margin-top: 22px; }
.quiet { color: var(--quiet); font-size: 13.5px; }
.card > .quiet { margin: 0 0 14px; }
.scroll + .quiet { margin-top: 12px; }
.card > :last-child { margin-bottom: 0; }
.card { margin: 0; padding: 18px 20px; background: var(--card); border: 1px solid var(--hair); border-radius: 10px;
  min-width: 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 12px; }
.tile { padding: 14px 16px; background: var(--card); border: 1px solid var(--hair); border-radius: 10px; }
.tile span { display: block; color: var(--quiet); font-size: 13px; }
.tile b { display: block; font-size: 25px; line-height: 1.3; font-weight: 650; font-variant-numeric: tabular-nums;
  letter-spacing: -0.01em; white-space: nowrap; }
.tile small { display: block; color: var(--quiet); font-size: 12px; line-height: 1.35; }
.charts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 20px; }
.columns { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 20px; align-items: start; }
.columns > :only-child { grid-column: 1 / -1; }
.columns:empty { display: none; }
.split { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 4fr); gap: 32px; align-items: start; }
@media (max-width: 860px) { .charts, .columns, .split { grid-template-columns: minmax(0, 1fr); } }
svg { display: block; width: 100%; height: auto; overflow: visible;
  font: 11px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; font-variant-numeric: tabular-nums; }
svg .tick { fill: var(--quiet); }
svg .grid { stroke: var(--grid); stroke-width: 1; fill: none; }
svg .axis { stroke: var(--quiet); stroke-width: 1; opacity: 0.6; }
svg .mark { stroke: var(--quiet); stroke-width: 1; stroke-dasharray: 3 3; }
svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg .line.train { stroke: var(--train); } svg .dot.train { fill: var(--train); }
svg .line.validation { stroke: var(--validation); } svg .dot.validation { fill: var(--validation); }
svg .line.single { stroke: var(--single); } svg .dot.single { fill: var(--single); }
svg .line.bins { stroke: var(--single); stroke-width: 1.5; fill: var(--single); fill-opacity: 0.25; }
svg .line.exact { stroke: var(--quiet); stroke-width: 1; }
svg .spot { fill: var(--single); fill-opacity: 0.45; }
svg .hover { fill: transparent; }
svg .right { fill: var(--right); } svg .wrong { fill: var(--wrong); }
svg .count { fill: var(--ink); } svg .count.on { fill: var(--on); }
svg.confusion .grid { stroke: var(--hair); }
.legend { margin: -4px 0 10px; display: flex; flex-wrap: wrap; gap: 4px 18px; color: var(--quiet); font-size: 13px; }
.legend b { color: var(--ink); font-weight: 600; font-variant-numeric: tabular-nums; }
.key { display: inline-block; width: 16px; height: 3px; margin-right: 7px; vertical-align: middle; border-radius: 2px; }
.key.train { background: var(--train); } .key.validation { background: var(--validation); }
.key.single, .key.bins { background: var(--single); } .key.exact { height: 1px; background: var(--quiet); }
.key.mark { height: 0; border-top: 1px dashed var(--quiet); border-radius: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th { color: var(--quiet); font-weight: 500; text-align: left; }
th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--hair); vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
tr:last-child td { border-bottom: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code, pre { font: 12.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
ol { margin: 0; padding-left: 20px; font-size: 13.5px; }
details { margin-top: 12px; font-size: 13.5px; }
summary { cursor: pointer; color: var(--quiet); margin-bottom: 6px; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); gap: 18px 14px; }
.pictures figure { margin: 0; }
.pictures img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; image-rendering: pixelated;
  background: #000; border-radius: 6px; }
.pictures figcaption { margin-top: 5px; font-size: 13px; line-height: 1.35; }
.pictures span { color: var(--quiet); font-size: 12px; font-variant-numeric: tabular-nums; }
b.wrong { color: var(--wrong); }
.bar { display: flex; gap: 2px; height: 22px; margin: 2px 0 12px; border-radius: 5px; overflow: hidden; }
.bar i { display: block; min-width: 2px; }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 3px; }
.kind1 { background: var(--kind1); } .kind2 { background: var(--kind2); } .kind3 { background: var(--kind3); }
.kind4 { background: var(--kind4); } .kind5 { background: var(--kind5); }
)css";
}

}  // namespace wholestep
