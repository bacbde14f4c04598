// What the tests of the page have in common: an agent on the demo clip, a browser, a
// network that can be cut, and what must never be seen on a page.

import assert from "node:assert/strict";
import {spawn, spawnSync, execFileSync} from "node:child_process";
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from "node:fs";
import {createRequire} from "node:module";
import net from "node:net";
import {tmpdir} from "node:os";
import path from "node:path";

const need = createRequire(path.join(process.env.MODULES, "x"));
const {chromium} = need("playwright-core");
export const axe = readFileSync(need.resolve("axe-core/axe.min.js"), "utf8");

export const root = process.env.ROOT;
export const screens = {
  desktop: {viewport: {width: 1280, height: 1000}, colorScheme: "light"},
  phone: {viewport: {width: 390, height: 844}, colorScheme: "dark", hasTouch: true},
};
export const password = "correct horse";

export const launch = () => chromium.launch({executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox"]});

// Agent is an agent with one camera, front, on the demo clip. more is added to its
// config, web are keys of that block.
export class Agent {
  constructor(more = "", web = "") {
    this.dir = mkdtempSync(path.join(tmpdir(), "edge-agent-page-"));
    this.clip = path.join(this.dir, "clip.mp4");
    this.more = more;
    this.web = web;
    writeFileSync(this.clip, readFileSync(path.join(root, "models/demo/demo.mp4")));
    const made = spawnSync(path.join(root, "bin/edge-agent"), ["passwd", path.join(this.dir, "hash")], {input: password + "\n"});
    assert.equal(made.status, 0, String(made.stderr));
  }

  // start starts it and waits for its addresses; port keeps the page where it was.
  async start(port = 0) {
    writeFileSync(path.join(this.dir, "config.yaml"), `
version: 1
agent: {id: page, data_dir: ${this.dir}/data}
mqtt: {broker: embedded, embedded: {listen: "127.0.0.1:0", websocket: ""}}
models: {objects: {manifest: ${root}/models/efficientnet_lite0/manifest.yaml, threads: 1}}
cameras: {front: {source: ${this.clip}, models: [objects], fps: 10}}
web: {listen: "127.0.0.1:${port}"${this.web}}
${this.more}
`);
    this.process = spawn(path.join(root, "bin/edge-agent"), ["run", "-c", path.join(this.dir, "config.yaml"), "--print"], {stdio: ["ignore", "pipe", "ignore"]});
    let said = "";
    await new Promise((resolve, reject) => {
      this.process.stdout.on("data", (b) => {
        if (said.length < 10_000) said += b;
        if (/^Page: /m.test(said)) resolve();
      });
      this.process.once("exit", (code) => reject(new Error(`the agent ended with ${code}: ${said}`)));
    });
    this.process.removeAllListeners("exit");
    this.url = said.match(/^Page: (\S+)/m)[1];
    this.broker = said.match(/^MQTT: tcp:\/\/([\d.]+):(\d+)/m);
    return this;
  }

  async stop() {
    const ended = new Promise((resolve) => this.process.once("exit", resolve));
    this.process.kill("SIGTERM");
    await ended;
  }

  async remove() {
    if (this.process && this.process.exitCode === null) await this.stop();
    rmSync(this.dir, {recursive: true, force: true});
  }

  // worker is the pid of its child of a kind.
  worker(kind) {
    const children = execFileSync("pgrep", ["-P", String(this.process.pid)]).toString().trim().split("\n");
    const pid = children.find((p) => {
      const [name, what] = readFileSync(`/proc/${p}/cmdline`, "latin1").split("\0");
      return name === "edge-agent-worker" && (what === "infer") === (kind === "infer");
    });
    assert.ok(pid, `no ${kind} worker among ${children}`);
    return Number(pid);
  }

  // retained reads a topic of the agent once.
  retained(topic) {
    return execFileSync("mosquitto_sub", ["-h", this.broker[1], "-p", this.broker[2], "-C", "1", "-W", "20", "-t", "edge/page/" + topic]).toString().trim();
  }

  // results listens to what MQTT says: the best label of each frame, by seq.
  results() {
    const labels = new Map();
    const sub = spawn("mosquitto_sub", ["-h", this.broker[1], "-p", this.broker[2], "-t", "edge/page/camera/front/model/objects/result"], {stdio: ["ignore", "pipe", "ignore"]});
    let rest = "";
    sub.stdout.on("data", (b) => {
      const lines = (rest + b).split("\n");
      rest = lines.pop();
      for (const l of lines) {
        const r = JSON.parse(l);
        labels.set(r.seq, r.labels[0]?.label ?? "");
      }
    });
    return {labels, end: () => sub.kill()};
  }
}

// cable is a network that can be cut: bytes stay on their way until it is mended.
export async function cable(url) {
  const {hostname, port} = new URL(url);
  const sockets = new Set();
  let cut = false;
  const join = (a, b) => {
    a.on("data", (d) => b.write(d));
    a.on("close", () => b.destroy());
    a.on("error", () => b.destroy());
    sockets.add(a);
    a.on("close", () => sockets.delete(a));
    if (cut) a.pause();
  };
  const server = net.createServer((near) => {
    const far = net.connect(port, hostname);
    join(near, far);
    join(far, near);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    cut: () => ((cut = true), sockets.forEach((s) => s.pause())),
    mend: () => ((cut = false), sockets.forEach((s) => s.resume())),
    end: () => (sockets.forEach((s) => s.destroy()), server.close()),
  };
}

// open opens the page and notes all that must not be: errors, violations of the
// Content-Security-Policy, requests to anybody else.
export async function open(browser, url, screen, options = {}) {
  const context = await browser.newContext({...screens[screen], ...options});
  const page = await context.newPage();
  const wrong = [];
  const expected = /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|status of (401|403|409|503)/;
  page.on("console", (m) => m.type() === "error" && !expected.test(m.text()) && wrong.push(m.text()));
  page.on("pageerror", (e) => wrong.push(e.message));
  page.on("request", (r) => !r.url().startsWith(url) && !/^(data|blob):/.test(r.url()) && wrong.push("asked for " + r.url()));
  await page.addInitScript(() => {
    globalThis.violations = [];
    document.addEventListener("securitypolicyviolation", (e) => globalThis.violations.push(e.violatedDirective + " " + e.blockedURI));
  });
  await page.goto(url);
  return {context, page, wrong, violations: () => page.evaluate(() => globalThis.violations)};
}

// live waits until the page shows a label and a picture.
export async function live(page) {
  await page.waitForSelector("#link.up");
  await page.locator(".line .label", {hasText: /../}).waitFor();
  await page.waitForSelector(".picture img[data-seq]:not([hidden])");
}

// serious are axe's findings that shut people out.
export async function serious(page) {
  await page.evaluate(axe);
  const {violations} = await page.evaluate(() => globalThis.axe.run());
  return violations.filter((v) => v.impact === "serious" || v.impact === "critical").map((v) => `${v.id}: ${v.nodes[0].html}`);
}
