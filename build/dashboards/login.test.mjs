// The page's login in headless Chromium: who has not logged in sees nothing, who has
// can do what the config allows and is told what is refused, and another site's page
// can do nothing in his name.

import assert from "node:assert/strict";
import http from "node:http";
import {after, before, test} from "node:test";
import {Agent, launch, live, open, password, screens, serious} from "./rig.mjs";

let agent, browser;

before(async () => {
  agent = await new Agent("commands: {allow: [enabled, snapshot, delegate]}", ", username: admin, password_file: hash").start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await agent?.remove();
});

async function logIn(page, word = password) {
  await page.fill("#username", "admin");
  await page.fill("#password", word);
  await page.click("#login button");
}

const status = () => agent.retained("camera/front/status");

async function until(what, holds) {
  for (const end = Date.now() + 20_000; ; ) {
    if (holds()) return;
    assert.ok(Date.now() < end, `waited in vain for ${what}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

for (const screen of Object.keys(screens)) {
  test(`${screen}: nothing before the login, all after it`, async () => {
    const {context, page, wrong, violations} = await open(browser, agent.url, screen, {bypassCSP: screen === "phone"});
    await page.waitForSelector("#login:not([hidden])");
    assert.ok(!(await page.isVisible("#cameras")) && !(await page.isVisible("#log-more")), "something is shown before the login");
    if (screen === "phone") assert.deepEqual(await serious(page), []);
    if (screen === "desktop") {
      await logIn(page, "a wrong one");
      await page.locator("#login-why", {hasText: "wrong name or password"}).waitFor();
    }
    await logIn(page);
    await live(page);
    assert.ok(!(await page.isVisible("#login")), "the form stays");
    const [cookie] = await context.cookies();
    assert.ok(cookie.httpOnly && cookie.sameSite === "Strict", JSON.stringify(cookie));
    if (screen === "phone") assert.deepEqual(await serious(page), []);
    await page.click("#account button");
    await page.waitForSelector("#login:not([hidden])");
    assert.equal((await page.request.get(agent.url + "api/state")).status(), 401);
    assert.deepEqual(wrong, []);
    assert.deepEqual(await violations(), []);
    await context.close();
  });
}

test("a command is done as over MQTT; one that cannot be is refused in words", async () => {
  const {context, page, wrong} = await open(browser, agent.url, "desktop");
  await page.waitForSelector("#login:not([hidden])");
  await logIn(page);
  await live(page);
  await page.getByRole("button", {name: "switch off"}).click();
  await page.locator("#done.good", {hasText: "enabled of camera/front: done"}).waitFor();
  await until("the camera to be off", () => status() === "disabled");
  await page.locator(".picture .none", {hasText: "No picture"}).waitFor();
  await page.getByRole("button", {name: "switch on"}).click();
  await until("the camera to be on", () => status() === "online");
  await page.waitForSelector(".picture img:not([hidden])");
  await page.getByRole("button", {name: "snapshot to MQTT"}).click();
  await page.locator("#done.bad", {hasText: "refused: snapshot: pixels: local lets no picture go to MQTT"}).waitFor();
  await page.locator("#events b", {hasText: "command"}).first().waitFor();
  assert.deepEqual(wrong, []);
  await context.close();
});

test("another site's page does nothing in the name of who is logged in", async () => {
  const {context, page} = await open(browser, agent.url, "desktop");
  await page.waitForSelector("#login:not([hidden])");
  await logIn(page);
  await live(page);
  const target = agent.url + "api/camera/front/set";
  const evil = http.createServer((_, answer) => {
    answer.setHeader("Content-Type", "text/html");
    answer.end(`<form method="post" action="${target}" enctype="text/plain"><input name='{"enabled":false,"id":"' value='x"}'></form>`);
  });
  await new Promise((resolve) => evil.listen(0, "127.0.0.1", resolve));
  const other = await context.newPage();
  const codes = [];
  other.on("response", (r) => r.url() === target && r.request().method() !== "OPTIONS" && codes.push(r.status()));
  for (const host of ["localhost", "127.0.0.1"]) { // another site, and another port of the same
    await other.goto(`http://${host}:${evil.address().port}/`);
    await other.evaluate(async (url) => {
      for (const type of ["text/plain", "application/json"]) {
        for (const mode of ["no-cors", "cors"]) {
          await fetch(url, {method: "POST", mode, credentials: "include", headers: {"Content-Type": type}, body: '{"enabled":false}'}).catch(() => {});
        }
      }
    }, target);
    await Promise.all([other.waitForNavigation(), other.evaluate(() => document.forms[0].submit())]);
  }
  evil.close();
  assert.ok(codes.length >= 2 && codes.every((c) => c === 403 || c === 401 || c === 415), `answers: ${codes}`);
  await new Promise((done) => setTimeout(done, 1000));
  assert.equal(status(), "online");
  console.log(`figure: page_foreign_commands_refused: ${codes.length} of ${codes.length}`);
  await context.close();
});
