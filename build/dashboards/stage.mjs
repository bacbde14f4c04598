// What the tests of the dashboards share: a real agent on the demo clip, a real broker,
// messages by mosquitto's own clients, free ports, and everything ended at the end.

import {execFileSync, spawn} from "node:child_process";
import {mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from "node:fs";
import {createServer} from "node:net";
import {tmpdir} from "node:os";
import path from "node:path";
import {createInterface} from "node:readline";

export const root = process.env.ROOT;

// freePort asks the kernel for one.
export const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const {port} = server.address();
      server.close(() => resolve(port));
    });
  });

// until waits for a value that is neither false nor null, or says what was missing.
export async function until(what, get, seconds = 60) {
  let last;
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await new Promise((r) => setTimeout(r, 250))) {
    try {
      last = await get();
      if (last) return last;
    } catch (error) {
      last = error;
    }
  }
  throw new Error(`waited ${seconds} s in vain for ${what}: ${last}`);
}

// Stage is a folder, the programs that run in it, and their end.
export class Stage {
  constructor(name) {
    this.dir = mkdtempSync(path.join(tmpdir(), `edge-agent-${name}-`));
    this.children = [];
  }

  file(name, text) {
    const file = path.join(this.dir, name);
    mkdirSync(path.dirname(file), {recursive: true});
    writeFileSync(file, text);
    return file;
  }

  // run starts a program; what it says is kept in said.
  run(command, args, options = {}) {
    const child = spawn(command, args, {stdio: ["ignore", "pipe", "pipe"], cwd: this.dir, ...options});
    child.said = "";
    for (const out of [child.stdout, child.stderr]) out.on("data", (b) => (child.said = (child.said + b).slice(-200_000)));
    child.ended = new Promise((resolve) => child.once("exit", resolve));
    this.children.push(child);
    return child;
  }

  async end(child, signal = "SIGTERM") {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    const late = setTimeout(() => child.kill("SIGKILL"), 20_000);
    await child.ended;
    clearTimeout(late);
  }

  async close() {
    for (const child of this.children.reverse()) await this.end(child);
    rmSync(this.dir, {recursive: true, force: true, maxRetries: 3});
  }

  // broker starts Mosquitto, which lets everybody in.
  async broker() {
    this.mqtt = await freePort();
    const conf = this.file("mosquitto.conf", `persistence false\nallow_anonymous true\nlistener ${this.mqtt} 127.0.0.1\n`);
    this.run("/usr/sbin/mosquitto", ["-c", conf]);
    await until("mosquitto", () => this.publish("test/hello", "x") || true);
  }

  publish(topic, text, ...more) {
    execFileSync("mosquitto_pub", ["-h", "127.0.0.1", "-p", String(this.mqtt), "-q", "1", "-t", topic, "-m", text, ...more], {stdio: "pipe"});
  }

  // listen begins to note what comes on a topic, a line a message.
  listen(topic) {
    this.heard = [];
    const sub = spawn("stdbuf", ["-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", String(this.mqtt), "-q", "1", "-t", topic], {stdio: ["ignore", "pipe", "ignore"]});
    sub.ended = new Promise((resolve) => sub.once("exit", resolve));
    createInterface({input: sub.stdout}).on("line", (line) => this.heard.push(line));
    this.children.push(sub);
  }

  // ask publishes and waits for the next message on the topic that is listened to.
  async ask(topic, text) {
    const n = this.heard.length;
    this.publish(topic, text);
    return until(`an answer to ${topic}`, () => this.heard[n], 10);
  }

  // kept is what the broker keeps on topics, by topic.
  kept(filter) {
    let out = "";
    try {
      execFileSync("mosquitto_sub", ["-h", "127.0.0.1", "-p", String(this.mqtt), "-W", "1", "--retained-only", "-v", "-t", filter], {stdio: ["ignore", "pipe", "ignore"], maxBuffer: 1 << 26});
    } catch (error) {
      out = error.stdout.toString(); // it ends by the time limit
    }
    return new Map(out.split("\n").filter(Boolean).map((l) => [l.slice(0, l.indexOf(" ")), l.slice(l.indexOf(" ") + 1)]));
  }

  // agent starts one at the broker; parts are what its config has beside the usual.
  async agent({id = "porch", mqtt = "", cameras = "", more = "", web = 0} = {}) {
    this.file("clip.mp4", readFileSync(path.join(root, "models/demo/demo.mp4")));
    const conf = this.file(`${id}.yaml`, `
version: 1
agent: {id: ${id}, data_dir: ${this.dir}/data-${id}}
mqtt:
  broker: tcp://127.0.0.1:${this.mqtt}
${mqtt}
models: {objects: {manifest: ${root}/models/efficientnet_lite0/manifest.yaml, threads: 1}}
cameras:
  front: {source: ${this.dir}/clip.mp4, models: [objects], fps: 5}
${cameras}
web: {listen: "127.0.0.1:${web}"}
${more}
`);
    const child = this.run(path.join(root, "bin/edge-agent"), ["run", "-c", conf, "--print"]);
    await until("the agent", () => /^Page: /m.test(child.said) || (child.exitCode !== null && Promise.reject(child.said)));
    child.page = child.said.match(/^Page: (\S+)\/$/m)[1];
    return child;
  }
}
