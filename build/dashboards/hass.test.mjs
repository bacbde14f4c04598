// A live Home Assistant beside the real agent: it finds the agent and its cameras, shows
// their values, does what is asked by its own buttons, and forgets a camera that is gone.
//
//   HASS=folder of its venv FORM=entities node --test hass.test.mjs
//
// FORM is one message an entity, or device: one a device, for 2024.11 or newer.

import assert from "node:assert/strict";
import {execFileSync} from "node:child_process";
import {existsSync, readFileSync, writeFileSync} from "node:fs";
import path from "node:path";
import {after, before, test} from "node:test";

import {freePort, root, Stage, until} from "./stage.mjs";

const stage = new Stage("hass");
let agent, hass;

const form = process.env.FORM ?? "entities";
const figure = `homeassistant_${form === "entities" ? "live" : "live_by_device"}`;
const mqtt = `  homeassistant: {enabled: true, form: ${form}, labels: [espresso], expire_after: 30s}\n`;
const commands = 'pixels: mqtt\ncommands: {allow: [enabled, fps, restart, snapshot]}\n';
const second = '  yard: {source: "testpattern:320x240", models: [objects], fps: 1, snapshot: {every: 2s, retain: true}}\n';

// The tests talk to Home Assistant over MQTT: it answers with all its MQTT entities, and
// calls the services that it is told.
const configuration = (port) => `
default_config_is_left_out: {}
http: {server_host: 127.0.0.1, server_port: ${port}}
api:
automation:
  - alias: tell
    trigger: {platform: mqtt, topic: test/ask}
    action:
      - service: mqtt.publish
        data:
          topic: test/answer
          payload: >-
            {% set ns = namespace(all=[]) %}{% for e in integration_entities('mqtt') | sort %}{% set ns.all = ns.all +
            [{'id': e, 'state': states(e), 'name': state_attr(e, 'friendly_name'), 'why': state_attr(e, 'why'),
            'device': device_attr(e, 'name'), 'via': device_attr(e, 'via_device_id') is not none}] %}{% endfor %}{{ ns.all | tojson }}
  - alias: call
    mode: queued
    trigger: {platform: mqtt, topic: test/call}
    action:
      - service: "{{ trigger.payload_json.service }}"
        target: {entity_id: "{{ trigger.payload_json.entity }}"}
        data: "{{ trigger.payload_json.data | default({}) }}"
`.replace("default_config_is_left_out: {}\n", "");

// entities are those that Home Assistant has now, by their ids.
async function entities() {
  const text = await stage.ask("test/ask", "x");
  return new Map(JSON.parse(text).map((e) => [e.id, e]));
}

const call = (service, entity, data = {}) => stage.publish("test/call", JSON.stringify({service, entity, data}));

// has waits until Home Assistant has an entity with a state.
const has = (id, ok, seconds) =>
  until(id, async () => {
    const e = (await entities()).get(id);
    return e && ok(e.state) ? e : Promise.reject(JSON.stringify(e));
  }, seconds);

before(async () => {
  await stage.broker();
  stage.listen("test/answer");
  stage.file("config/configuration.yaml", configuration(await freePort()) +
    readFileSync(path.join(root, "docs/dashboards/homeassistant-automation.yaml"), "utf8").replace(/^automation:/m, "automation example:"));
  stage.file("config/.storage/core.config_entries", JSON.stringify({
    version: 1, minor_version: 1, key: "core.config_entries",
    data: {entries: [{
      entry_id: "mqtt", version: 1, minor_version: 1, domain: "mqtt", title: "mqtt", source: "user", unique_id: null, disabled_by: null,
      pref_disable_new_entities: false, pref_disable_polling: false, options: {}, data: {broker: "127.0.0.1", port: stage.mqtt},
    }]},
  }));
  agent = await stage.agent({mqtt: mqtt, cameras: second, more: commands});
  hass = stage.run(path.join(process.env.HASS, "bin/hass"), ["-c", path.join(stage.dir, "config"), "--log-no-color"], {
    env: {...process.env, PATH: `${path.join(process.env.HASS, "bin")}:${process.env.PATH}`},
  });
  await until("Home Assistant", async () => {
    if (hass.exitCode !== null) throw new Error(hass.said);
    return (await stage.ask("test/ask", "x")) !== null;
  }, 420);
});

after(async () => {
  if (process.env.DEBUG) writeFileSync(process.env.DEBUG, hass?.said ?? "");
  await stage.close();
});

test("it has all that the agent tells", async () => {
  const [all, told] = await until("all entities", async () => {
    const parts = [...stage.kept("homeassistant/#").values()].flatMap((text) => Object.values(JSON.parse(text).components ?? {it: {}}));
    const got = await entities();
    return parts.length > 20 && got.size === parts.length ? [got, parts.length] : Promise.reject(`${parts.length} told, ${[...got.keys()].join(" ")}`);
  });
  console.log(`figure: ${figure}_entities: ${all.size} of ${told}`);
  for (const e of all.values()) assert.match(e.device, /^porch( front| yard)?$/);
  const errors = hass.said.split("\n").filter((l) => /(ERROR|WARNING).*mqtt/.test(l));
  assert.deepEqual(errors, []);
});

test("its values are those of MQTT", async () => {
  const label = await has("sensor.porch_front_label", (s) => s.length > 2 && s !== "unknown" && s !== "nothing");
  assert.ok(/\w/.test(label.state));
  await until("the same label", async () => {
    const kept = stage.kept("edge/porch/camera/front/model/objects/label").get("edge/porch/camera/front/model/objects/label");
    return (await entities()).get("sensor.porch_front_label").state === kept;
  });
  const score = await has("sensor.porch_front_score", (s) => Number(s) > 0);
  assert.ok(Number(score.state) <= 100);
  await has("sensor.porch_latency_p95", (s) => Number(s) > 0);
  await has("sensor.porch_queue", (s) => Number(s) >= 0);
  await has("sensor.porch_delegate_objects", (s) => s === "cpu");
  await has("sensor.porch_front_status", (s) => s === "online");
  await has("binary_sensor.porch_degraded", (s) => s === "off");
  await has("binary_sensor.porch_front_espresso", (s) => s === "on", 90); // the clip shows a cup once a round
  await has("number.porch_front_rate", (s) => Number(s) === 5);
  await has("image.porch_yard_last_picture", (s) => /^\d{4}-/.test(s));
  assert.ok((await entities()).get("sensor.porch_front_label").via, "the camera's device stands alone");
});

test("its buttons do what they say", async () => {
  call("switch.turn_off", "switch.porch_front_enabled");
  await has("sensor.porch_front_status", (s) => s === "disabled");
  await has("sensor.porch_front_label", (s) => s === "unavailable");
  await has("switch.porch_front_enabled", (s) => s === "off");
  call("switch.turn_on", "switch.porch_front_enabled");
  await has("sensor.porch_front_label", (s) => s !== "unavailable");
  call("number.set_value", "number.porch_front_rate", {value: 2.5});
  await has("number.porch_front_rate", (s) => Number(s) === 2.5);
  const boot = await until("the state", () => JSON.parse(stage.kept("edge/porch/state").get("edge/porch/state")).boot);
  call("button.press", "button.porch_restart");
  await until("another boot", () => JSON.parse(stage.kept("edge/porch/state").get("edge/porch/state")).boot !== boot);
  await has("number.porch_front_rate", (s) => Number(s) === 5); // as the config says
});

test("the page and the automation of the docs name what it has", async () => {
  const all = await entities();
  for (const file of ["homeassistant-page.yaml", "homeassistant-automation.yaml"]) {
    const text = readFileSync(path.join(root, "docs/dashboards", file), "utf8");
    const names = new Set(text.match(/\b(sensor|binary_sensor|camera|image|switch|number|button)\.[a-z0-9_]+/g).filter((n) => !/\.(press|set_value|turn_on|turn_off|snapshot)$/.test(n)));
    assert.ok(names.size > 0, file);
    for (const n of names) assert.ok(all.has(n), `${file} names ${n}; there are ${[...all.keys()].join(" ")}`);
  }
  execFileSync(path.join(process.env.HASS, "bin/hass"), ["-c", path.join(stage.dir, "config"), "--script", "check_config", "--fail-on-warnings"], {stdio: "pipe"});
});

test("it is told that the agent has gone, and that a camera is gone", async () => {
  await stage.end(agent, "SIGKILL");
  await has("sensor.porch_queue", (s) => s === "unavailable");
  agent = await stage.agent({mqtt: mqtt, more: commands}); // no yard
  await has("sensor.porch_queue", (s) => s !== "unavailable");
  await until("the yard to be forgotten", async () => ![...(await entities()).keys()].some((id) => id.includes("yard")));
  const registry = path.join(stage.dir, "config/.storage/core.entity_registry");
  await until("the registry's file", () => existsSync(registry) && !readFileSync(registry, "utf8").split('"deleted_entities"')[0].includes("_Cyard_"), 90);
  const held = JSON.parse(readFileSync(registry, "utf8")).data.entities.filter((e) => e.platform === "mqtt");
  console.log(`figure: ${figure}_registry_entities: ${held.length}`);
  assert.ok(held.every((e) => e.unique_id.startsWith("edge_Aporch")), JSON.stringify(held.map((e) => e.unique_id)));
});

test("its birth has everything told anew", async () => {
  const topic = await until("a description", () => [...stage.kept("homeassistant/#").keys()][0]);
  stage.publish(topic, "", "-r"); // somebody has thrown it away
  stage.publish("homeassistant/status", "online");
  await until("the description", () => stage.kept(topic).get(topic));
});
