// A real Prometheus scrapes the real agent, and a real Telegraf reads along at its broker:
// the metrics are well formed, the alert rules load, and every query of the ready-made
// Grafana dashboards gives data.
//
//   TELEGRAF=its binary (or none: its dashboard is not asked) node --test prometheus.test.mjs

import assert from "node:assert/strict";
import {execFileSync} from "node:child_process";
import {readFileSync} from "node:fs";
import path from "node:path";
import {after, before, test} from "node:test";

import {freePort, root, Stage, until} from "./stage.mjs";

const stage = new Stage("prometheus");
const docs = path.join(root, "docs/dashboards");
let agent, prometheus, url;

async function ask(api, params = {}) {
  const answer = await (await fetch(`${url}/api/v1/${api}?${new URLSearchParams(params)}`)).json();
  assert.equal(answer.status, "success", `${JSON.stringify(params)}: ${answer.error}`);
  return answer.data;
}

before(async () => {
  await stage.broker();
  agent = await stage.agent();
  let telegraf = "";
  if (process.env.TELEGRAF) {
    const port = await freePort();
    const conf = readFileSync(path.join(docs, "telegraf.conf"), "utf8").replaceAll("127.0.0.1:1883", `127.0.0.1:${stage.mqtt}`).replace("127.0.0.1:9273", `127.0.0.1:${port}`);
    assert.ok(conf.includes(String(port)) && conf.includes(String(stage.mqtt)));
    stage.run(process.env.TELEGRAF, ["--config", stage.file("telegraf.conf", conf)]);
    telegraf = `  - {job_name: telegraf, honor_labels: true, static_configs: [{targets: ["127.0.0.1:${port}"]}]}\n`;
  }
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  const conf = stage.file("prometheus.yml", `
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [${docs}/prometheus-rules.yml]
scrape_configs:
  - {job_name: edge-agent, static_configs: [{targets: ["${new URL(agent.page).host}"]}]}
${telegraf}`);
  prometheus = stage.run("prometheus", [`--config.file=${conf}`, `--storage.tsdb.path=${stage.dir}/tsdb`, `--web.listen-address=127.0.0.1:${port}`]);
  await until("Prometheus", async () => {
    if (prometheus.exitCode !== null) throw new Error(prometheus.said);
    return (await fetch(`${url}/-/ready`)).ok;
  });
});

after(() => stage.close());

test("promtool finds nothing wrong with the metrics", async () => {
  const metrics = await (await fetch(`${agent.page}/metrics`)).text();
  const said = execFileSync("promtool", ["check", "metrics"], {input: metrics, stdio: ["pipe", "pipe", "pipe"]}).toString();
  assert.equal(said, "");
  console.log(`figure: prometheus_families: ${metrics.match(/^# TYPE edge_agent_/gm).length}`);
});

test("the alert rules load and are evaluated", async () => {
  const rules = await until("an evaluation", async () => {
    const all = (await ask("rules")).groups.flatMap((g) => g.rules);
    return all.every((r) => r.health === "ok") && all;
  });
  console.log(`figure: prometheus_alert_rules: ${rules.length}`);
  assert.ok(rules.length >= 8);
  assert.deepEqual(rules.filter((r) => r.state !== "inactive").map((r) => r.name), [], "the demo clip alarms");
});

// queries are all that a dashboard asks, its variables' included.
function queries(file) {
  const board = JSON.parse(readFileSync(path.join(docs, file), "utf8"));
  const fill = (q) => q.replaceAll(/\$(instance|camera|agent)\b/g, ".*").replaceAll("$__rate_interval", "15s").replaceAll(/\[(24|1)h\]/g, "[30s]");
  const all = [];
  const walk = (panels) => {
    for (const p of panels) {
      walk(p.panels ?? []);
      if (p.type !== "row") assert.ok(p.targets?.length > 0, `${file}: ${p.title} asks nothing`);
      for (const t of p.targets ?? []) all.push({where: `${file}: ${p.title}`, expr: fill(t.expr)});
    }
  };
  walk(board.panels);
  for (const v of board.templating.list.filter((v) => v.type === "query")) {
    const [, selector, label] = v.definition.match(/^label_values\((.*), (\w+)\)$/);
    all.push({where: `${file}: variable ${v.name}`, expr: fill(selector), label});
  }
  return all;
}

async function answered(file, figure) {
  const all = queries(file);
  let empty = all;
  await until("data for every query", async () => {
    const left = [];
    for (const q of empty) {
      const {result} = await ask("query", {query: q.expr});
      const good = result.some((r) => Number.isFinite(Number(r.value[1])) && (!q.label || r.metric[q.label]));
      if (!good) left.push(q);
    }
    empty = left;
    return empty.length === 0 || Promise.reject(empty.map((q) => `${q.where}: ${q.expr}`).join("\n"));
  }, 90);
  console.log(`figure: ${figure}: ${all.length}`);
}

test("every query of the dashboard for Prometheus gives data", () => answered("grafana-prometheus.json", "grafana_prometheus_queries"));

test("every query of the dashboard for Telegraf gives data", {skip: !process.env.TELEGRAF && "no Telegraf: its Go module could not be built"}, async () => {
  await answered("grafana-telegraf.json", "grafana_telegraf_queries");
  const {result} = await ask("query", {query: "edge_result_latency_ms"});
  assert.deepEqual([result[0].metric.agent, result[0].metric.camera, result[0].metric.model], ["porch", "front", "objects"]);
});

test("a camera that goes raises its alert", async () => {
  const children = execFileSync("pgrep", ["-P", String(agent.pid)]).toString().trim().split("\n");
  const worker = children.find((p) => {
    const [name, what] = readFileSync(`/proc/${p}/cmdline`, "latin1").split("\0");
    return name === "edge-agent-worker" && what !== "infer";
  });
  execFileSync("rm", [path.join(stage.dir, "clip.mp4")]);
  process.kill(Number(worker), "SIGKILL");
  await until("the alert", async () => (await ask("alerts")).alerts.some((a) => a.labels.alertname === "EdgeAgentCameraStalled" && a.labels.camera === "front"));
});
