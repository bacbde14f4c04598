// What is opened up: the models taken apart, the config with its problems, the log.
"use strict";

const LOG_PERIOD = 2000; // ms
const MOST_LOG = 300;

async function getJSON(path) {
  const r = await fetch(path);
  if (!r.ok) throw new Error((await r.text()).trim());
  return r.json();
}

// fill puts what make gives into an element, or why there is nothing.
async function fill(e, make_) {
  try {
    replace(e, ...(await make_()));
  } catch (err) {
    replace(e, make("p", "empty", err.message));
  }
}

const many = (n) => (n >= 1e9 ? (n / 1e9).toFixed(2) + " G" : n >= 1e6 ? (n / 1e6).toFixed(2) + " M" : n >= 1e3 ? (n / 1e3).toFixed(1) + " k" : String(n));

function modelCard(id, m) {
  const r = m.inspect, t = r.totals;
  const golden = m.golden.input === "manifest" ? "the manifest's golden input was answered as it must be, when the model was opened" :
    "without a golden input; a random one was answered soundly, when the model was opened";
  const list = [
    ["state", (m.state.delegate || "no delegate") + (m.state.degraded ? ": " + m.state.why.join("; ") : "")],
    ["answer", golden],
    ["file", m.state.file + ", " + bytes(r.file_bytes)],
    ["sha256", m.state.sha256],
    ["looks like", (r.family || "no known family") + (r.because ? " (" + r.because + ")" : "")],
    ["numbers", r.numbers],
    ["takes, gives", m.state.input + " → " + m.state.outputs.join(", ")],
    ["size", t.layers + " layers, " + many(t.parameters) + " parameters, " + many(t.macs) + " MACs, " + bytes(t.peak_bytes) + " of activations at a time"],
    ["operators", fewer(r.operators.map((o) => o.op + " " + o.count), 12).join(", ")],
    ...r.delegates.map((d) => ["for " + d.delegate, d.takes + " of " + d.of + " layers" + (d.refuses?.length ? "; not " + fewer(d.refuses, 6).join(", ") : "")]),
    ...(r.problems || []).map((p) => ["problem", p]),
  ];
  const link = make("a", "", "every layer");
  link.href = "api/model/" + id + "/page";
  return make("article", "model", make("h3", "", id), make("dl", "", ...list.flatMap(([n, v]) => [make("dt", "", n), make("dd", "", v)])), make("p", "", link));
}

async function drawModels() {
  if (!$("models-more").open) return;
  await fill($("models-list"), async () => {
    const s = await getJSON("api/state");
    return Promise.all(s.models.map(async (m) => modelCard(m.model, await getJSON("api/model/" + m.model))));
  });
}

async function drawConfig() {
  if (!$("config-more").open) return;
  await fill($("config-text"), async () => {
    const c = await getJSON("api/config");
    $("config-why").textContent = c.file + ": " + c.status + (c.why ? " — " + c.why : "");
    $("config-why").className = c.problems.length || c.why ? "bad" : "good";
    const lines = c.text.replace(/\n$/, "").split("\n").map((text, i) => {
      const wrong = c.problems.filter((p) => p.line === i + 1 && !p.origin);
      return make("li", wrong.length ? "wrong" : "", text || " ", ...wrong.map((p) => make("strong", "", (p.key ? p.key + ": " : "") + p.text)));
    });
    const others = c.problems.filter((p) => !p.line || p.origin).map((p) => make("li", "wrong", make("strong", "", [p.origin, p.key, p.text].filter(Boolean).join(": "))));
    return [...others, ...lines];
  });
}

let logNext = 0;
async function drawLog() {
  if (!$("log-more").open || document.hidden) return;
  try {
    const l = await getJSON("api/log?after=" + logNext);
    if (l.next < logNext) $("log").replaceChildren(); // another agent
    logNext = l.next;
    const list = $("log");
    const below = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    list.append(...l.lines.map((x) => make("li", "level-" + x.level.toLowerCase(), make("time", "", clock(x.time)), make("b", "", x.level), " ", x.text)));
    while (list.children.length > MOST_LOG) list.firstChild.remove();
    if (below) list.scrollTop = list.scrollHeight;
  } catch (err) {
    if (!$("log").children.length) replace($("log"), make("li", "empty", err.message));
  }
}

$("models-more").addEventListener("toggle", drawModels);
$("config-more").addEventListener("toggle", drawConfig);
$("log-more").addEventListener("toggle", drawLog);
setInterval(drawLog, LOG_PERIOD);
