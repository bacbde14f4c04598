// The Node-RED flow in a real Node-RED, beside the real agent: its page, in Chromium, shows
// what MQTT says, and tells when the agent has gone.

import assert from "node:assert/strict";
import {readFileSync} from "node:fs";
import {createRequire} from "node:module";
import path from "node:path";
import {after, before, test} from "node:test";

import {freePort, root, Stage, until} from "./stage.mjs";

const need = createRequire(path.join(process.env.MODULES, "x"));
const {chromium} = need("playwright-core");
const stage = new Stage("nodered");
let agent, browser, url;

before(async () => {
  await stage.broker();
  agent = await stage.agent();
  const flow = JSON.parse(readFileSync(path.join(root, "docs/dashboards/nodered-flow.json"), "utf8"));
  const broker = flow.find((n) => n.type === "mqtt-broker");
  broker.port = String(stage.mqtt);
  const port = await freePort();
  url = `http://127.0.0.1:${port}/edge-agent/`;
  stage.file("settings.js", "module.exports = {uiHost: '127.0.0.1', telemetry: {enabled: false}, logging: {console: {level: 'info'}}, credentialSecret: false};\n");
  const red = stage.run("node", [need.resolve("node-red/red.js"), "-u", stage.dir, "-s", path.join(stage.dir, "settings.js"), "-p", String(port), stage.file("flow.json", JSON.stringify(flow))]);
  await until("Node-RED", async () => {
    if (red.exitCode !== null) throw new Error(red.said);
    return (await fetch(url)).ok;
  }, 120);
  browser = await chromium.launch({executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox"]});
});

after(async () => {
  await browser?.close();
  await stage.close();
});

const topic = "edge/porch/camera/front/model/objects/label";
const lines = async () => (await (await fetch(url + "?json")).json()).lines;

test("the page shows what MQTT says", async () => {
  const page = await browser.newPage();
  const wrong = [];
  page.on("pageerror", (e) => wrong.push(e.message));
  page.on("request", (r) => !r.url().startsWith(new URL(url).origin) && wrong.push("asked for " + r.url()));
  await page.goto(url);
  await page.locator("td.label", {hasText: /../}).waitFor({timeout: 60_000});
  await until("the label of MQTT on the page", async () => {
    await page.goto(url);
    const shown = await page.textContent("td.label");
    return shown === stage.kept(topic).get(topic);
  });
  await page.locator("td.state", {hasText: "live"}).waitFor({timeout: 60_000});
  const text = await page.textContent("tbody tr");
  assert.match(text, /porch.*front.*objects.*\d %.*\d ms.*cpu.*live/s);
  assert.deepEqual(wrong, []);
  await page.close();
  console.log(`figure: nodered_lines: ${(await lines()).length}`);
});

test("what is replayed is no news", async () => {
  const before = (await lines())[0];
  const old = {agent: "porch", camera: "front", model: "objects", replayed: true, labels: [{label: "zebra", score: 1}], latency_ms: {total: 99999}, delegate: "old"};
  stage.publish("edge/porch/camera/front/model/objects/result", JSON.stringify(old));
  await until("a newer result", async () => (await lines())[0].at > before.at);
  assert.notEqual((await lines())[0].delegate, "old");
});

test("an agent that has gone is told", async () => {
  await stage.end(agent);
  await until("stopped", async () => (await lines())[0].status === "stopped");
});
