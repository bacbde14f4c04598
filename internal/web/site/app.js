// The agent's page: draws what /api/events tells. Nothing is fetched from elsewhere,
// and no text of a message is ever taken for markup.
"use strict";

const STAGES = ["queue", "capture", "preprocess", "invoke", "postprocess"];
const SECONDS = 180; // that the chart shows
const MOST = {events: 100, labels: 50, story: 50};

const trends = new Map(); // by line: [{at, n, stages}]
let chart, chosen, lastHeard = 0;

function drawTables(s) {
  const rows = (id, list) => replace($(id).tBodies[0], ...list.map((cells) => make("tr", "", ...cells.map((c) => make("td", "", c)))));
  const latency = s.state.latency_ms;
  rows("percentiles", [...STAGES, "total"].filter((n) => latency[n]).map((n) => [n, ms(latency[n].p50), ms(latency[n].p95), ms(latency[n].p99)]));
  rows("delegates", s.delegates.flatMap((m) => m.delegates.map((d) => [m.model, d.delegate, make("span", d.state, d.state), d.falls || 0,
    withButtons((d.reason || "") + (d.next_try ? " (next try " + clock(d.next_try) + ")" : ""), delegateButtons(m, d))])));
  rows("counts", s.cameras.flatMap((c) => c.counts.map((n) => {
    const r = rates(c.camera + "/" + n.model + "/" + (n.region || ""), n);
    return [c.camera, n.region ? n.model + " · " + n.region : n.model, n.captured, n.answered, n.thinned, n.skipped, failed(n), n.in_flight, n.starved || 0,
      r.captured, r.answered, r.thinned, r.skipped];
  })));
}

// failed sums a count by reason up.
const failed = (n) => (typeof n.failed === "object" ? Object.values(n.failed).reduce((a, b) => a + b, 0) : n.failed);

// rates are what counts grow by in a second, over the last five.
const readings = new Map();
function rates(key, counts) {
  const past = readings.get(key) || [];
  const now = {at: performance.now() / 1000, ...counts};
  if (past.length && past[past.length - 1].captured > now.captured) past.length = 0; // the agent is another one
  past.push(now);
  while (past.length > 2 && now.at - past[0].at > 5) past.shift();
  readings.set(key, past);
  const took = now.at - past[0].at;
  return Object.fromEntries(["captured", "answered", "thinned", "skipped"].map((k) => [k, took > 0.5 ? ((now[k] - past[0][k]) / took).toFixed(1) : "–"]));
}

function drawSystem(s) {
  const q = s.state.queue;
  const dropped = Object.values(q.dropped).flatMap((r) => Object.values(r)).reduce((a, b) => a + b, 0);
  const list = [
    ["broker", (s.mqtt.embedded ? "embedded, " : "") + s.mqtt.broker + (s.mqtt.connected ? ", connected" : ", not connected")],
    ["topics", s.mqtt.topics],
    ["queue", q.messages + " messages, " + bytes(q.bytes) + (q.messages ? ", the oldest " + duration(q.oldest_s) : "") + (dropped ? "; " + dropped + " dropped" : "")],
    ...Object.entries(s.state.temperatures_c).map(([n, t]) => ["temperature", n + " " + t.toFixed(1) + " °C"]),
    ...s.models.map((m) => ["model " + m.model, m.file + ", " + m.task + ", " + m.input]),
    ...s.cameras.map((c) => ["camera " + c.camera, c.source + ", " + c.fps.toFixed(1) + " fps" + (c.demo ? " (the demo clip)" : "")]),
    ["versions", Object.entries(s.state.versions).map(([n, v]) => n + " " + v).join(", ")],
  ];
  replace($("system"), ...list.flatMap(([n, v]) => [make("dt", "", n), make("dd", "", v)]));
}

function onState(s) {
  const why = s.state ? s.state.why : s.missing.map((m) => m.part + (m.name ? " " + m.name : "") + ": " + m.why);
  $("troubles").hidden = why.length === 0;
  replace($("why"), ...why.map((w) => make("li", "", w)));
  if (!s.state) return;
  document.title = s.state.agent + " · edge-agent";
  $("agent").textContent = s.state.agent;
  $("about").textContent = "edge-agent " + s.state.versions.agent + ", up " + duration(s.state.uptime_s) + (s.state.clock_synced ? "" : ", clock not synchronised");
  drawCameras(s);
  drawTables(s);
  drawSystem(s);
  for (const l of s.lines) if (l.last) addSecond(nameOf(l), l.last);
  drawChart();
}

function addSecond(name, second) {
  const t = trends.get(name) || [];
  if (!t.length || t[t.length - 1].at < second.at) t.push(second);
  while (t.length > SECONDS) t.shift();
  trends.set(name, t);
}

// entry puts a line on top of a list.
function entry(id, e) {
  const list = $(id);
  list.querySelector(".empty")?.remove();
  list.prepend(e);
  while (list.children.length > MOST[id]) list.lastChild.remove();
}

function eventLine(e) {
  const about = [e.camera, e.model, e.delegate].filter(Boolean).join(" · ");
  return make("li", "", make("time", "", clock(e.time)), make("b", "", e.kind), " ", about, about ? ": " : "", e.text);
}

function onEvent(e) {
  entry("events", eventLine(e));
  if (e.delegate) entry("story", eventLine(e));
  if (/^(reload|safe)/.test(e.kind)) drawConfig();
}

function onLabel(l) {
  entry("labels", make("li", "", make("time", "", clock(l.time)), nameOf(l) + ": ", make("b", "", l.label || "–"), l.score ? " " + percent(l.score) : ""));
}

function onResult(r) {
  const card = [...document.querySelectorAll(".line")].find((c) => c.dataset.line === nameOf(r));
  if (card) card.querySelector(".label").textContent = r.label || "–";
}

function onHistory(h) {
  $("events").replaceChildren(make("li", "empty", "nothing since the start"));
  $("labels").replaceChildren(make("li", "empty", "none yet"));
  $("story").replaceChildren(make("li", "empty", "none since the start"));
  h.events.forEach((e) => entry("events", eventLine(e)));
  h.story.forEach((e) => entry("story", eventLine(e)));
  h.labels.forEach(onLabel);
  for (const t of h.trends) t.seconds.forEach((s) => addSecond(nameOf(t), s));
}

// drawChart stacks the chosen line's stages.
function drawChart() {
  const names = [...trends.keys()];
  const pick = $("line");
  if (names.join("\n") !== [...pick.options].map((o) => o.value).join("\n")) {
    pick.replaceChildren(...names.map((n) => new Option(n, n, false, n === chosen)));
  }
  chosen = pick.value;
  const past = trends.get(chosen) || [];
  if (!past.length) return;
  const sums = STAGES.map(() => []);
  for (const p of past) {
    let sum = 0;
    p.stages.forEach((v, i) => sums[i].push((sum += v)));
  }
  const data = [past.map((p) => p.at), ...sums.reverse()]; // the tallest first, the others in front of it
  const width = $("chart").clientWidth;
  if (chart) {
    if (chart.width !== width) chart.setSize({width, height: 220});
    chart.setData(data);
    return;
  }
  const colour = (n) => getComputedStyle(document.documentElement).getPropertyValue("--" + n).trim();
  const axis = {stroke: () => colour("soft"), grid: {stroke: () => colour("line"), width: 1}, ticks: {stroke: () => colour("line")}};
  chart = new uPlot({
    width, height: 220, legend: {show: false}, cursor: {show: false},
    scales: {y: {range: (_, low, high) => [0, Math.max(high, 1) * 1.1]}},
    axes: [axis, {...axis, size: 64, values: (_, v) => v.map((x) => x + " ms")}],
    series: [{}, ...[...STAGES].reverse().map((n) => ({label: n, stroke: () => colour(n), fill: () => colour(n), width: 0, points: {show: false}}))],
  }, data, $("chart"));
}

// listen opens the stream; the browser opens it anew when it breaks. Whoever must log
// in first is asked to.
let stream;
function listen() {
  const link = $("link");
  const say = (name, text) => {
    link.className = name;
    if (link.textContent !== text) link.textContent = text;
    document.body.classList.toggle("stale", name === "down");
  };
  stream?.close();
  const mine = (stream = new EventSource("api/events"));
  const on = (kind, f) => mine.addEventListener(kind, (m) => {
    lastHeard = Date.now();
    say("up", "live");
    f(JSON.parse(m.data));
  });
  on("state", onState);
  on("history", onHistory);
  on("result", onResult);
  on("event", onEvent);
  on("label", onLabel);
  mine.onerror = () => {
    say("down", "no connection to the agent; trying again");
    // Refused: the browser gives up by itself. Another agent may have other rules.
    if (mine.readyState === EventSource.CLOSED) setTimeout(begin, 2000);
  };
  const watch = setInterval(() => {
    if (mine.readyState === EventSource.CLOSED) clearInterval(watch);
    else if (Date.now() - lastHeard > 5000) say("down", "nothing heard for " + duration((Date.now() - lastHeard) / 1000));
  }, 1000);
}

// begin asks who one is, and shows what may be seen.
async function begin() {
  try {
    await askSession();
  } catch {
    $("link").className = "down";
    $("link").textContent = "no connection to the agent; trying again";
    setTimeout(begin, 2000);
    return;
  }
  lastHeard = Date.now();
  if (session.read) listen();
  else {
    $("link").className = "";
    $("link").textContent = "not logged in";
  }
}

$("key").append(...STAGES.flatMap((n) => [make("span", "", make("i", n), n), " "]));
$("line").addEventListener("change", drawChart);
addEventListener("resize", () => chart && drawChart());
begin();
