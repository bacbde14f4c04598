// Who one is to the agent, and what may be done: log in and out, commands by buttons.
"use strict";

let session = {login: "none", user: "", read: true, private: false, act: [], why: ""};

// askSession learns what may be seen and done, and shows it.
async function askSession() {
  const r = await fetch("api/session");
  if (!r.ok) throw new Error(await r.text());
  session = await r.json();
  document.body.classList.toggle("locked", !session.read);
  $("login").hidden = session.read || session.login !== "password";
  const beyond = session.login === "none" && !session.private;
  $("notice").hidden = !beyond;
  if (beyond) $("notice").textContent = "Whoever reaches this address can read this page. " + session.why;
  const who = [];
  if (session.user) who.push(session.user + " ");
  if (session.user && session.login === "password") who.push(button("log out", {"data-logout": ""}));
  if (!session.user && session.login === "none") who.push(make("span", "soft", session.act.length ? "" : "read only"));
  $("account").title = session.why;
  replace($("account"), ...who);
}

// button makes one that does what its attributes say (below).
function button(text, attributes) {
  const b = make("button", "", text);
  b.type = "button";
  for (const [n, v] of Object.entries(attributes)) b.setAttribute(n, v);
  return b;
}

// command makes a button that sends a command; without the right to, nothing.
function command(text, word, topic, body) {
  return session.act.includes(word) ? [button(text, {"data-topic": topic, "data-body": JSON.stringify(body)})] : [];
}

const withButtons = (text, buttons) => make("span", "", text, ...buttons.flatMap((b) => [" ", b]));

// delegateButtons are for a delegate's row.
function delegateButtons(m, d) {
  const topic = "model/" + m.model + "/delegate/set";
  return d.forced ? command("release", "delegate", topic, {release: d.delegate}) : command("force", "delegate", topic, {force: d.delegate});
}

// say tells what became of something that was asked for.
let saying;
function tellDone(text, good) {
  const e = $("done");
  e.hidden = false;
  e.className = good ? "good" : "bad";
  e.textContent = text;
  clearTimeout(saying);
  saying = setTimeout(() => (e.hidden = true), 10_000);
}

async function post(path, body) {
  return fetch(path, {method: "POST", headers: {"Content-Type": "application/json"}, body});
}

async function send(topic, body) {
  const id = "page-" + Date.now().toString(36) + Math.random().toString(36).slice(2, 8);
  try {
    const r = await post("api/" + topic, JSON.stringify({id, ...body}));
    const text = await r.text();
    let why = text.trim();
    try {
      why = JSON.parse(text).error || "";
    } catch {
      // told in plain words
    }
    tellDone(Object.keys(body)[0] + " of " + topic.replace(/\/?set$/, "") + ": " + (r.ok ? "done" : "refused: " + why), r.ok);
    if (r.status === 401) begin();
  } catch (e) {
    tellDone("no connection to the agent: " + e.message, false);
  }
}

document.addEventListener("click", async (e) => {
  const b = e.target.closest("button");
  if (b?.dataset.topic) send(b.dataset.topic, JSON.parse(b.dataset.body));
  if (b?.dataset.logout !== undefined) {
    await post("api/logout", "{}");
    location.reload();
  }
});

$("login-form").addEventListener("submit", async (e) => {
  e.preventDefault();
  const r = await post("api/login", JSON.stringify({username: $("username").value, password: $("password").value}));
  $("login-why").textContent = r.ok ? "" : await r.text();
  $("password").value = "";
  if (r.ok) begin();
});
