// The agent's page in headless Chromium, on the running agent with the demo clip: what
// it shows is what MQTT says, falls and returns are seen, nothing leaves the machine,
// and nobody is shut out.
//
//   ROOT=. MODULES=… PICTURES=docs node --test page.test.mjs

import assert from "node:assert/strict";
import {execFileSync} from "node:child_process";
import {readFileSync, rmSync, writeFileSync} from "node:fs";
import path from "node:path";
import {after, before, test} from "node:test";
import {Agent, cable, launch, live, open, screens, serious} from "./rig.mjs";

const outage = 30_000; // ms that the network is away
let agent, browser;

before(async () => {
  agent = await new Agent().start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await agent?.remove();
});

// until waits for a condition; Playwright's own way would evaluate text, which the page forbids.
async function until(page, what, holds) {
  for (const end = Date.now() + 60_000; !(await holds()); await page.waitForTimeout(100)) assert.ok(Date.now() < end, `waited in vain for ${what}`);
}

async function visit(screen, options) {
  const it = await open(browser, agent.url, screen, options);
  await live(it.page);
  return it;
}

for (const screen of Object.keys(screens)) {
  test(`${screen}: the picture moves, and what is seen is what MQTT says`, async () => {
    const {context, page, wrong, violations} = await visit(screen);
    const told = agent.results();
    const pictures = new Set();
    const shown = new Map(); // the picture's words by the seq of its frame
    const labels = new Set();
    for (const until = Date.now() + 40_000; Date.now() < until && (labels.size < 3 || shown.size < 8); ) {
      const [seq, alt, exact] = await page.$eval(".picture img", (e) => [Number(e.dataset.seq), e.alt, e.dataset.exact === "true"]);
      pictures.add(seq);
      if (exact) shown.set(seq, alt);
      labels.add(await page.textContent(".line .label"));
      await page.waitForTimeout(300);
    }
    told.end();
    assert.ok(labels.size >= 3, `the clip goes on, the label does not: ${[...labels]}`);
    const both = [...shown].filter(([seq]) => told.labels.has(seq));
    assert.ok(pictures.size >= 8 && both.length >= 5, `${pictures.size} pictures, ${both.length} with what MQTT told of their frames`);
    for (const [seq, alt] of both) assert.ok(alt.startsWith(`front: ${told.labels.get(seq)} `), `frame ${seq}: "${alt}", MQTT says ${told.labels.get(seq)}`);
    console.log(`figure: page_pictures_as_mqtt_${screen}: ${both.length} of ${pictures.size}`);
    const listed = await page.$$eval("#labels b", (all) => all.map((e) => e.textContent));
    assert.ok(listed.includes(agent.retained("camera/front/model/objects/label")), `the retained label is not listed: ${listed}`);
    assert.ok(await page.$("#chart canvas"), "there is no chart");
    assert.equal(await page.textContent("#delegates tbody .active"), "active");
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `the page is ${wide} pixels wider than the screen`);
    if (process.env.PICTURES) await page.screenshot({path: path.join(process.env.PICTURES, `page-${screen}.png`)});
    assert.deepEqual(wrong, []);
    assert.deepEqual(await violations(), []);
    await context.close();
  });
}

for (const screen of Object.keys(screens)) {
  test(`${screen}: axe finds no serious fault, with all opened up`, async () => {
    const {context, page} = await visit(screen, {bypassCSP: true});
    for (const part of ["models", "config", "log"]) await page.click(`#${part}-more summary`);
    await page.locator("#models-list article").waitFor();
    await page.locator("#config-text li").first().waitFor();
    await page.locator("#log li").first().waitFor();
    assert.match(await page.textContent("#models-list"), /golden input was answered/);
    assert.match(await page.textContent("#config-text"), /clip\.mp4/);
    assert.match(await page.textContent("#log"), /model ready/);
    const faults = await serious(page);
    console.log(`figure: page_axe_serious_${screen}: ${faults.length}`);
    assert.deepEqual(faults, []);
    await context.close();
  });
}

test("the Content-Security-Policy holds: what is not the page's own is not run", async () => {
  const {context, page, violations} = await visit("desktop");
  await page.evaluate(() => {
    const s = document.createElement("script");
    s.textContent = "globalThis.ran = true";
    document.head.append(s);
    const i = document.createElement("img");
    i.src = "http://192.0.2.1/x.png";
    document.body.append(i);
  });
  await until(page, "two violations", async () => (await violations()).length >= 2);
  assert.equal(await page.evaluate(() => globalThis.ran), undefined);
  assert.deepEqual((await violations()).map((v) => v.split(" ")[0]).sort(), ["img-src", "script-src-elem"]);
  await context.close();
});

test("a dead delegate is told within a second", async () => {
  const {context, page} = await visit("desktop");
  const told = (kind) => page.locator("#story b", {hasText: kind}).count();
  const took = [];
  while (took.length < 3 && !(took.at(-1) <= 1000)) { // something else may hold the machine up once
    const [broken, back] = [await told("delegate-broken"), await told("delegate-back")];
    const began = Date.now();
    process.kill(agent.worker("infer"), "SIGKILL");
    await page.locator("#events b", {hasText: "delegate-broken"}).nth(broken).waitFor();
    took.push(Date.now() - began);
    await page.locator("#story b", {hasText: "delegate-back"}).nth(back).waitFor();
  }
  console.log(`figure: page_tells_dead_delegate_ms: ${took.join(", ")}`);
  assert.ok(took.at(-1) <= 1000, `told after ${took} ms`);
  assert.ok(await page.locator("#story b", {hasText: "delegate-broken"}).count(), "the fall is not in the story");
  await context.close();
});

test("a camera that goes and comes back", async () => {
  const {context, page} = await visit("desktop");
  const kept = readFileSync(agent.clip);
  rmSync(agent.clip);
  process.kill(agent.worker("capture"), "SIGKILL");
  await page.waitForSelector("#troubles:not([hidden])");
  assert.match(await page.textContent("#why"), /camera front: offline/);
  await page.locator(".picture .none", {hasText: "No picture"}).waitFor();
  assert.ok(await page.$(".picture img[hidden]"), "an old picture is shown as if it were of now");
  writeFileSync(agent.clip + ".part", kept);
  execFileSync("mv", [agent.clip + ".part", agent.clip]);
  await page.waitForSelector("#troubles[hidden]", {state: "attached", timeout: 60_000});
  await page.waitForSelector(".picture img:not([hidden])");
  await context.close();
});

test("thirty seconds without a network, and back, without a reload", async (t) => {
  const line = await cable(agent.url);
  t.after(() => line.end());
  const {context, page, wrong} = await open(browser, line.url, "phone");
  await live(page);
  await page.evaluate(() => (globalThis.untouched = true));
  line.cut();
  await page.waitForSelector("#link.down", {timeout: 20_000});
  assert.match(await page.textContent("#link"), /nothing heard for/);
  await page.waitForTimeout(outage - 6000);
  const seq = await page.$eval(".picture img", (e) => Number(e.dataset.seq));
  line.mend();
  const began = Date.now();
  await page.waitForSelector("#link.up", {timeout: 60_000});
  await until(page, "a picture of after the outage", () => page.$eval(".picture img", (e, old) => Number(e.dataset.seq) > old + 200, seq));
  console.log(`figure: page_back_after_outage_ms: ${Date.now() - began}`);
  assert.ok(await page.evaluate(() => globalThis.untouched), "the page was loaded anew");
  assert.deepEqual(wrong, []);
  await context.close();
});

test("the agent goes and comes back, without a reload", async () => {
  const {context, page} = await visit("desktop");
  await page.evaluate(() => (globalThis.untouched = true));
  const port = new URL(agent.url).port;
  await agent.stop();
  await page.waitForSelector("#link.down");
  await agent.start(port);
  await page.waitForSelector("#link.up", {timeout: 60_000});
  assert.ok(await page.evaluate(() => globalThis.untouched), "the page was loaded anew");
  await context.close();
});

test("forty who look share the pictures, and the page says why they come seldom", async () => {
  const {context, page} = await visit("phone");
  const end = new AbortController();
  const left = (error) => assert.equal(error.name, "AbortError", String(error));
  const look = async () => {
    while (!end.signal.aborted) {
      const began = Date.now();
      const answer = await fetch(agent.url + "api/snapshot/front", {signal: end.signal});
      assert.equal(answer.status, 200, "a picture");
      await answer.arrayBuffer();
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, 500 - (Date.now() - began))));
    }
  };
  const hear = async () => (await fetch(agent.url + "api/events", {signal: end.signal})).text();
  const others = Array.from({length: 40}, () => Promise.all([look().catch(left), hear().catch(left)]));
  await page.locator(".pace", {hasText: /^4\d pages are open and share the pictures: one in [3-6]\.\d s$/}).waitFor({timeout: 60_000});
  const seen = new Set();
  page.on("response", (r) => r.url().includes("/api/snapshot/") && seen.add(r.headers().etag));
  await until(page, "pictures in their turn", () => seen.size >= 3);
  end.abort();
  await Promise.all(others);
  await page.waitForSelector(".pace:empty", {state: "attached", timeout: 60_000});
  await context.close();
});

test("the page is small, works by keyboard, and asks for no picture that nobody sees", async () => {
  const {context, page} = await visit("phone");
  const size = await page.evaluate(() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
    .filter((e) => !e.name.includes("/api/") && !e.name.startsWith("blob:")).reduce((sum, e) => sum + e.transferSize, 0));
  console.log(`figure: page_bytes: ${size}`);
  assert.ok(size < 300_000, `${size} bytes`);
  const reached = new Set();
  for (let i = 0; i < 24; i++) {
    await page.keyboard.press("Tab");
    reached.add(await page.evaluate(() => document.activeElement.id || document.activeElement.parentElement.id || document.activeElement.getAttribute("href") || document.activeElement.tagName));
  }
  for (const want of ["line", "events", "labels", "story", "models-more", "config-more", "log-more", "readyz"]) assert.ok(reached.has(want), `Tab does not reach ${want}: ${[...reached]}`);
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
  await page.waitForTimeout(1500); // the picture that was on its way
  let asked = 0;
  page.on("request", (r) => r.url().includes("/api/snapshot/") && asked++);
  await page.waitForTimeout(2000);
  assert.equal(asked, 0, "pictures are asked for out of sight");
  await page.evaluate(() => scrollTo(0, 0));
  await page.waitForRequest(/\/api\/snapshot\//);
  await context.close();
});
