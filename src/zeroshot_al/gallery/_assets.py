"""Style and script of the gallery: inlined into the page, which loads nothing."""

STYLE = """\
:root {
  color-scheme: light dark;
  --page: #fbfaf8; --card: #ffffff; --ink: #1d1b18; --soft: #5f5a52; --line: #e4dfd6;
  --accent: #b84a00; --accent-weak: #f6d9c4; --other: #6b6b6b; --band: #6b6b6b2e;
  --q0: #7a2e00; --q1: #c25a12; --q2: #e8944e; --q3: #f2bf92; --pool: #cfcac1;
  --code: #f3f0ea;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #141311; --card: #1d1b19; --ink: #efebe4; --soft: #aea79c; --line: #35312c;
    --accent: #ff9a52; --accent-weak: #57321a; --other: #a9a9a9; --band: #a9a9a92e;
    --q0: #ffe3cf; --q1: #ffb37d; --q2: #e27d35; --q3: #96501f; --pool: #47423c;
    --code: #262320;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  overflow-wrap: break-word;
}
main, header, footer { max-width: 1080px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 44px; }
h1 { font-size: clamp(1.7rem, 5vw, 2.5rem); line-height: 1.15; margin: 0 0 .5rem;
  letter-spacing: -.02em; text-wrap: balance; }
h2 { font-size: 1.3rem; line-height: 1.25; margin: 0 0 .3rem; letter-spacing: -.01em; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p { margin: 0 0 .9rem; max-width: 68ch; }
.lead { font-size: 1.08rem; color: var(--soft); }
.note { color: var(--soft); font-size: .92rem; }
section { margin-top: 52px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin: 26px 0 0; padding: 0; list-style: none; }
.tiles li { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 14px 16px 12px; }
.tiles b { display: block; font-size: 1.65rem; line-height: 1.2; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; }
.tiles span { color: var(--soft); font-size: .9rem; line-height: 1.35; display: block; }
.tiles .hot { border-color: var(--accent); }
.tiles .hot b { color: var(--accent); }
.thumbs { display: grid; grid-template-columns: repeat(auto-fill, minmax(74px, 1fr)); gap: 10px;
  margin: 16px 0 0; padding: 0; list-style: none; }
.thumbs li { min-width: 0; }
.thumbs img, .typical img { width: 100%; aspect-ratio: 1; object-fit: contain; display: block;
  background: var(--code); border-radius: 8px; }
img.pixels { image-rendering: pixelated; }
.thumbs b { display: block; font-size: .82rem; line-height: 1.3; margin-top: 5px;
  font-variant-numeric: tabular-nums; }
.thumbs span { display: block; font-size: .74rem; line-height: 1.35; color: var(--soft);
  white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.plain { grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); }
.plain li { border-left: 3px solid var(--accent-weak); padding-left: 9px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 16px; margin: 16px 0 0; }
.two { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 28px;
  align-items: center; }
.two p:last-child { margin-bottom: 0; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font: 12.5px system-ui, -apple-system, "Segoe UI", sans-serif; }
svg .strong { fill: var(--ink); font-weight: 600; }
.grid { stroke: var(--line); }
.order { fill: none; stroke: var(--accent); stroke-width: 2.5; stroke-linejoin: round; }
.random { fill: none; stroke: var(--other); stroke-width: 2; stroke-dasharray: 2 4;
  stroke-linecap: round; }
.band { fill: var(--band); }
.knee { stroke: var(--ink); stroke-dasharray: 4 4; }
.knee-dot { fill: var(--card); stroke: var(--accent); stroke-width: 2.5; }
.pool circle { fill: var(--pool); }
.q0 { fill: var(--q0); } .q1 { fill: var(--q1); } .q2 { fill: var(--q2); } .q3 { fill: var(--q3); }
.key { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 10px 0 0; padding: 0;
  list-style: none; color: var(--soft); font-size: .88rem; }
.key li { display: flex; align-items: center; gap: 7px; }
.key svg { width: 26px; height: 12px; flex: none; }
.slider { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 14px; margin-top: 12px; }
.slider[hidden] { display: none; }
.slider label { font-size: .92rem; font-variant-numeric: tabular-nums; min-width: 9.5em; }
.slider input { flex: 1 1 170px; min-width: 0; accent-color: var(--accent);
  min-height: 28px; margin: 0; }
.clusters { list-style: none; margin: 16px 0 0; padding: 0; display: grid; gap: 12px 32px;
  grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); }
.clusters li { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 12px;
  align-items: center; }
.typical { display: flex; gap: 4px; }
.typical img { width: 40px; border-radius: 6px; }
.bars { display: grid; gap: 3px; font-size: .8rem; font-variant-numeric: tabular-nums; }
.bars div { display: flex; align-items: center; gap: 7px; white-space: nowrap; }
.bars i { flex: none; height: 11px; border-radius: 3px; min-width: 2px; }
.bars .all i { background: var(--other); } .bars .picked i { background: var(--accent); }
.key .all { fill: var(--other); } .key .picked { fill: var(--accent); }
table { border-collapse: collapse; width: 100%; font-size: .88rem; }
.scroll { overflow-x: auto; }
th, td { text-align: left; padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; min-width: 5.2em; }
th { color: var(--soft); font-weight: 600; overflow-wrap: normal; }
pre { background: var(--code); border-radius: 8px; padding: 12px 14px; overflow-x: auto;
  font: .84rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; margin: 8px 0 12px; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .9em; }
p code, li code { background: var(--code); border-radius: 4px; padding: 1px 5px; }
ol { padding-left: 1.3em; margin: 0 0 .9rem; max-width: 68ch; }
footer { padding: 44px 20px 60px; color: var(--soft); font-size: .88rem; }
a { color: var(--accent); }
nav { margin-top: 22px; display: flex; flex-wrap: wrap; gap: 6px 18px; font-size: .95rem; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media (max-width: 720px) {
  header { padding-top: 28px; }
  main, header { padding-left: 16px; padding-right: 16px; }
  .two { grid-template-columns: minmax(0, 1fr); gap: 14px; }
  .card { padding: 12px 10px; }
  .tiles { grid-template-columns: 1fr 1fr; }
  .thumbs { gap: 8px; }
  .plain { grid-template-columns: 1fr 1fr; }
  section { margin-top: 42px; }
}
@media print { .slider { display: none; } section { break-inside: avoid; } }
"""

SCRIPT = """\
(function () {
  var slider = document.getElementById("shown");
  if (!slider) return;
  var label = document.getElementById("shown-label");
  var dots = Array.from(document.querySelectorAll("#picked circle"));
  var ranks = dots.map(function (dot) { return Number(dot.dataset.rank); });
  var budget = Number(slider.dataset.budget);
  slider.closest(".slider").hidden = false;
  function show() {
    // In equal ratios: the first picks differ most, and are the fewest.
    var count = Math.round(Math.pow(budget, slider.value / slider.max));
    label.textContent = "First " + count.toLocaleString("en") +
      (count === 1 ? " pick" : " picks");
    for (var i = 0; i < dots.length; i++) {
      dots[i].style.display = ranks[i] < count ? "" : "none";
    }
  }
  slider.addEventListener("input", show);
  show();
})();
"""
