// What the page's scripts have in common: elements, figures, words.
"use strict";

const $ = (id) => document.getElementById(id);

// make gives an element with a class and text or children.
function make(tag, name, ...children) {
  const e = document.createElement(tag);
  if (name) e.className = name;
  e.append(...children.map((c) => (c instanceof Node ? c : String(c))));
  return e;
}

const clock = (t) => new Date(t).toLocaleTimeString();
const ms = (v) => (v >= 100 ? v.toFixed(0) : v.toFixed(1));
const percent = (v) => (100 * v).toFixed(1) + " %";
const nameOf = (l) => [l.camera, l.model, l.region].filter(Boolean).join(" · ");

function duration(s) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"]];
  for (const [n, unit] of parts) if (s >= n) return Math.floor(s / n) + " " + unit;
  return Math.floor(s) + " s";
}

function bytes(n) {
  for (const unit of ["B", "KiB", "MiB"]) {
    if (n < 1024) return (unit === "B" ? n : n.toFixed(1)) + " " + unit;
    n /= 1024;
  }
  return n.toFixed(1) + " GiB";
}

// replace swaps an element's children only when they differ, so that a reader's place
// and selection stay.
function replace(e, ...children) {
  const fresh = make("div", "", ...children);
  if (fresh.innerHTML !== e.innerHTML) e.replaceChildren(...fresh.childNodes);
}

// fewer cuts a list off.
const fewer = (list, most) => (list.length > most ? [...list.slice(0, most), "…"] : list);
