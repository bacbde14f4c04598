// What the cameras see: a card for each, with its picture while somebody looks, what is
// seen in it, and the labels of its models.
"use strict";

const PICTURE_PERIOD = 500; // ms
const PATIENCE = 2000; // after a refusal
const SELDOM = 1500; // between two pictures: the page says why

const cards = new Map(); // by camera
let pixels = "local";
let viewers = 1; // pages that are open

// drawCameras makes the cards that are missing, takes away those of cameras that are
// gone, and fills the rest.
function drawCameras(s) {
  pixels = s.pixels;
  viewers = s.viewers;
  const names = s.cameras.map((c) => c.camera);
  for (const [name, card] of cards) if (!names.includes(name)) {
    card.gone = true;
    card.root.remove();
    cards.delete(name);
  }
  if (names.length) $("cameras").querySelector(":scope > .empty")?.remove();
  for (const c of s.cameras) {
    let card = cards.get(c.camera);
    if (!card) cards.set(c.camera, (card = newCard(c.camera)));
    drawCard(card, c, s.lines.filter((l) => l.camera === c.camera));
  }
}

function newCard(name) {
  const card = {name, seen: false, away: false, img: make("img"), marks: make("div", "marks"), none: make("p", "none", ""), head: make("h3"), pace: make("p", "pace"), lines: make("div", "lines"), actions: make("p", "actions")};
  card.img.hidden = true;
  card.img.alt = "";
  card.marks.setAttribute("aria-hidden", "true"); // the picture's own text says it
  card.picture = make("div", "picture", card.img, card.marks, card.none);
  card.root = make("article", "camera", card.head, card.picture, card.pace, card.lines, card.actions);
  card.root.dataset.camera = name;
  $("cameras").append(card.root);
  new IntersectionObserver((e) => (card.seen = e[e.length - 1].isIntersecting)).observe(card.picture);
  look(card);
  return card;
}

function drawCard(card, c, lines) {
  card.away = c.status !== "online";
  replace(card.head, c.camera, " — ", make("span", c.status, c.status));
  const rows = lines.map((l) => {
    const total = l.last ? l.last.stages.reduce((a, b) => a + b, 0) : 0;
    const line = make("div", "line", make("p", "model", [l.model, l.region].filter(Boolean).join(" · ")), make("p", "label", l.label || "–"),
      make("p", "figures", l.label ? percent(l.score) + " · " : "", l.last ? ms(total) + " ms · " + l.last.n + " fps · " : "", l.delegate));
    line.dataset.line = nameOf(l);
    return line;
  });
  replace(card.lines, ...(rows.length ? rows : [make("p", "figures", c.last_error ? c.last_error.text : "no frame yet")]));
  replace(card.actions, ...command(c.enabled ? "switch off" : "switch on", "enabled", "camera/" + c.camera + "/set", {enabled: !c.enabled}),
    ...command("snapshot to MQTT", "snapshot", "camera/" + c.camera + "/set", {snapshot: true}));
}

const pause = (t) => new Promise((done) => setTimeout(done, t));

// look has a picture twice a second while the card is in sight; it waits for one before
// it asks for the next.
async function look(card) {
  while (!card.gone) {
    const why = noPicture(card);
    if (why !== null) {
      if (why) showNone(card, why);
      await pause(200);
      continue;
    }
    const began = performance.now();
    let wait = PICTURE_PERIOD;
    try {
      if (!(await fetchPicture(card))) wait = PATIENCE;
    } catch {
      wait = PATIENCE; // no connection; the head of the page says so
    }
    await pause(Math.max(0, wait - (performance.now() - began)));
    sayPace(card, wait === PICTURE_PERIOD ? performance.now() - began : 0);
  }
}

// sayPace says why pictures come seldom: those who look share them.
function sayPace(card, took) {
  const why = took > SELDOM && viewers > 1 ? viewers + " pages are open and share the pictures: one in " + ms(took / 1000) + " s" : "";
  if (card.pace.textContent !== why) card.pace.textContent = why;
}

// noPicture says why none is to be asked for: "" when nobody looks; null: it is.
function noPicture(card) {
  if (!session.private) return session.read ? session.why : "";
  if (pixels === "none") return "No picture: pixels: none in the config lets none leave the camera's worker.";
  if (card.away) return "No picture: the camera gives none now.";
  return document.hidden || !card.seen || document.body.classList.contains("stale") ? "" : null;
}

function showNone(card, why) {
  card.img.hidden = true;
  card.marks.replaceChildren();
  if (card.none.textContent !== why) card.none.textContent = why;
}

async function fetchPicture(card) {
  const r = await fetch("api/snapshot/" + card.name, {headers: card.tag ? {"If-None-Match": card.tag} : {}});
  if (r.status === 304) return true;
  if (!r.ok) {
    card.tag = "";
    showNone(card, "No picture: " + (await r.text()).trim());
    if (r.status === 401) begin();
    return false;
  }
  const view = JSON.parse(decodeURIComponent(r.headers.get("Edge-View")));
  const fresh = URL.createObjectURL(await r.blob());
  const old = card.img.src;
  card.img.src = fresh;
  await card.img.decode();
  if (old) URL.revokeObjectURL(old);
  card.tag = r.headers.get("ETag");
  card.none.textContent = "";
  card.img.hidden = false;
  card.img.dataset.seq = view.seq;
  card.img.dataset.exact = view.sights.every((s) => s.seq === view.seq); // else a model took longer than the picture waits
  card.img.alt = card.name + ": " + (view.sights.map(spoken).join("; ") || "nothing recognised yet");
  drawMarks(card, view);
  return true;
}

const spoken = (s) => (s.boxes?.length ? s.boxes.map((b) => b.label + " " + percent(b.score)).join(", ") : s.label ? s.label + " " + percent(s.score) : "nothing");

function drawMarks(card, view) {
  const at = (e, x, y) => {
    e.style.left = 100 * x + "%";
    e.style.top = 100 * y + "%";
    return e;
  };
  const marks = [];
  for (const s of view.sights) {
    for (const b of s.boxes || []) {
      const e = at(make("div", "box", make("span", "", b.label + " " + percent(b.score))), b.box[0], b.box[1]);
      e.style.width = 100 * b.box[2] + "%";
      e.style.height = 100 * b.box[3] + "%";
      marks.push(e);
    }
    for (const p of s.points || []) marks.push(at(make("i", "joint"), p[0], p[1]));
  }
  const words = view.sights.filter((s) => !s.boxes?.length && s.label).map((s) => make("p", "", s.region ? s.region + ": " : "", s.label + " " + percent(s.score)));
  if (words.length) marks.push(make("div", "caption", ...words));
  card.marks.replaceChildren(...marks);
}
