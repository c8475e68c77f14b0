"""The frame of the page: its style, and a script that sorts tables and enlarges pictures and may be off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specdm.report.html import text

STYLE = """
:root { --line: #d8dcdf; --grey: #4f585f; --ink: #1d2327; --paper: #fff; --soft: #f4f6f7 }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1320px;
  margin: 1.5rem auto; padding: 0 1rem; overflow-wrap: break-word }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem } h2 { font-size: 1.3rem; margin: 2.4rem 0 .4rem;
  padding-top: .6rem; border-top: 1px solid var(--line) } h3 { font-size: 1.08rem; margin: 1.4rem 0 .3rem }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: 1rem 0 } a { color: #0b5c96 }
p, ul { max-width: 85ch; margin: .5rem 0 } ul { padding-left: 1.3rem } pre { overflow: auto; font-size: 12px }
code, pre { font-family: ui-monospace, monospace; background: var(--soft) } code { padding: 0 .2em }
.scroll { overflow-x: auto; margin: .8rem 0 } caption { text-align: left; font-weight: 600; padding: .3rem 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13.5px }
th, td { padding: .25rem .45rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top }
th { vertical-align: bottom; background: var(--soft); font-weight: 600 } td { white-space: nowrap }
th.text, td.text { text-align: left } td.long { white-space: normal; min-width: 22rem }
tbody tr:hover { background: var(--soft) } tfoot td { font-weight: 600; border-top: 2px solid var(--line) }
th button { font: inherit; text-align: inherit; color: inherit; background: none; border: 0; padding: 0;
  cursor: pointer }
th button::after { content: "\\2195"; color: #9aa3a9; margin-left: .25em; font-weight: 400 }
th[aria-sort=ascending] button::after { content: "\\2191"; color: inherit }
th[aria-sort=descending] button::after { content: "\\2193"; color: inherit }
figure { margin: 1rem 0 } figcaption { color: var(--grey); max-width: 85ch; margin-bottom: .3rem }
img { max-width: 100%; height: auto; border: 1px solid var(--line); display: block }
button.enlarge { border: 0; padding: 0; background: none; cursor: zoom-in; display: block; max-width: 100% }
:focus-visible { outline: 3px solid #0b5c96; outline-offset: 2px }
dialog { max-width: 98vw; max-height: 98vh; padding: .6rem; border: 1px solid var(--line) }
dialog::backdrop { background: rgb(0 0 0 / .6) } dialog img { max-width: none; margin-top: .5rem }
dialog form { position: sticky; left: 0; top: 0; display: flex; gap: 1rem; align-items: center;
  background: var(--paper) }
.key span { display: inline-block; margin-right: 1rem } .key i { display: inline-block; width: 1em; height: 1em;
  margin-right: .3em; vertical-align: -2px; border: 1px solid #888 }
.note { color: var(--grey) } summary { cursor: pointer; padding: .35rem 0; font-weight: 600 }
.caution { border-left: 4px solid #9a6700; background: #fff8e6; padding: .4rem .8rem; max-width: 85ch; margin: .8rem 0 }
ul.caution { padding-left: 2rem }
.answers { list-style: none; padding: 0; max-width: none } .answers li { display: grid; gap: .1rem 1rem;
  grid-template-columns: 15rem 1fr; padding: .55rem 0; border-bottom: 1px solid var(--line) }
.answers p { margin: 0 0 .2rem } .answers h4 { margin: 0 0 .25rem; font-size: 15px }
.badge { display: inline-block; border: 1px solid; border-radius: 3px; padding: 0 .45em; font-weight: 600;
  font-size: 14px; margin: .1rem .2rem .1rem 0; white-space: normal }
.good { color: #14532d; background: #e3f4e8 } .bad { color: #8a1c12; background: #fdeae8 }
.mixed { color: #6b4700; background: #fff3d1 } .unknown { color: #40474d; background: #eceff1 }
.glance { font-size: 15px } .glance .badge { white-space: nowrap }
.glance td, .glance th { padding: .3rem .6rem; text-align: left; vertical-align: top; white-space: nowrap }
@media (max-width: 640px) { body { margin: .8rem auto; padding: 0 .7rem } .answers li { grid-template-columns: 1fr } }
@media print { body { font-size: 10pt; max-width: none; margin: 0 } nav, dialog, th button::after { display: none }
  .badge, .key i, th, .caution { print-color-adjust: exact; -webkit-print-color-adjust: exact }
  .scroll { overflow: visible } table { font-size: 8pt } td { white-space: normal } th, td { padding: .1rem .25rem }
  figure, .answers li, tr { break-inside: avoid } h2, h3, summary { break-after: avoid } a { color: inherit } }
"""
SCRIPT = """
"use strict";
function before(a, b) {
  const [x, y] = [a, b].map(cell => cell.textContent.trim());
  if (!x || !y) return null;
  const [n, m] = [a, b].map(cell => "value" in cell.dataset ? Number(cell.dataset.value) : NaN);
  return Number.isNaN(n) || Number.isNaN(m) ? x.localeCompare(y, "en", { numeric: true }) : n - m;
}
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const order = before(a.cells[column], b.cells[column]);
        if (order !== null) return sign * order;
        const empty = row => row.cells[column].textContent.trim() ? 0 : 1;
        return empty(a) - empty(b);  // what is undefined stays last in both directions
      });
      table.tBodies[0].append(...rows);
    });
  });
}
const dialog = document.querySelector("dialog");
for (const img of document.querySelectorAll("figure img")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "enlarge";
  button.title = "enlarge";
  img.replaceWith(button);
  button.append(img);
  button.addEventListener("click", () => {
    dialog.querySelector("span").textContent = img.alt;
    dialog.querySelector("div").replaceChildren(img.cloneNode());
    dialog.showModal();
  });
}
dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(part => { part.open = true; }));
"""


@dataclass(frozen=True)
class Part:
    """A part of the page with an entry in its list of contents; `content` is HTML."""

    anchor: str
    title: str
    content: str


def page(title: str, top: str, parts: Sequence[Part]) -> str:
    """The whole page: what `top` holds (HTML), the list of contents, the parts."""
    links = "".join(f'<a href="#{part.anchor}">{text(part.title)}</a>' for part in parts)
    body = "".join(f'<section><h2 id="{p.anchor}">{text(p.title)}</h2>{p.content}</section>' for p in parts)
    return (
        '<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">'
        f"<title>{text(title)}</title><style>{STYLE}</style><body><h1>{text(title)}</h1>{top}"
        f"<nav aria-label=contents>{links}</nav>{body}"
        "<dialog aria-label=picture><form method=dialog><button>close</button><span></span></form><div></div></dialog>"
        f"<script>{SCRIPT}</script></body></html>\n"
    )
