// Shows what the server tells over one stream, and sends what is typed. All text goes in as text, never as markup.

const SHOWN = 80; // things of a list, the newest
const QUIET = 250; // milliseconds without a key until what was typed is looked at
const TELL = 4000; // milliseconds between two sentences for who listens instead of looking

const TROUBLES = [["normal", "normal"], ["429", "429s"], ["500", "500s"], ["slow", "slow"], ["reset", "resets"], ["token", "revoked", "revoked token"]];
const find = (id) => document.getElementById(id);

/** An element with attributes and children; text children stay text. */
function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

const chip = (text, kind = "") => make("span", { class: `chip ${kind}` }, text);
const clock = (moment) => new Date(moment).toLocaleTimeString([], { hour12: false });
const at = (moment) => make("time", { datetime: new Date(moment).toISOString() }, clock(moment));
const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));
const block = (text, label) => make("pre", { tabindex: "0", role: "group", "aria-label": label }, text);
const by = (one, many) => (one === 1 ? `1 ${many.replace(/s$/, "")}` : `${one} ${many}`);

// ---------------------------------------------------------------------------------------------------- what came in

const GOOD = new Set(["delivered", "duplicate"]);

function fate(destination, known) {
  if (!known) return make("li", {}, make("span", {}, destination), chip("on its way", "wait"));
  const ended = known.final;
  const kind = GOOD.has(known.outcome) ? "ok" : ended ? "bad" : "wait";
  const word = ended && kind === "bad" ? `dead letter: ${known.outcome}` : ended ? known.outcome : `${known.outcome}, comes again`;
  const tries = known.attempts > 1 ? `, ${known.attempts} tries` : "";
  const rest = known.final && kind === "ok" ? `${known.seconds.toFixed(1)} s${tries}` : [known.reason, known.detail].filter(Boolean).join(": ");
  return make("li", {}, make("span", {}, destination), chip(word, kind), make("span", { class: "soft" }, rest));
}

function wrong({ field, message }) {
  return make("li", {}, field ? make("code", {}, field) : "", field ? " " : "", message);
}

function arrival(item, one) {
  const kind = { accepted: "ok", rejected: "bad" }[one.verdict] ?? "wait";
  item.replaceChildren(
    make("div", { class: "row" }, chip(one.verdict, kind), make("span", { class: "grow" }), at(one.at)),
    make("code", {}, one.event_id || "(no id to be read)"),
    one.verdict === "rejected"
      ? make("ul", { class: "reasons" }, ...one.errors.map(wrong))
      : one.failed_at
        ? make("p", { class: "soft" }, `${one.failed_at} failed: it comes again`)
        : make("ul", { class: "fates" }, ...Object.entries(one.fates).map(([to, known]) => fate(to, known))),
  );
}

// ------------------------------------------------------------------------------------------- what providers received

function verdict(one) {
  if (one.violations === null) return chip("not checked");
  return one.violations.length ? chip(`breaks contract: ${one.violations.length}`, "bad") : chip("fits contract", "ok");
}

function status(one) {
  if (!one.ended) return chip("in work", "wait");
  if (one.status === null) return chip("reset", "bad");
  return chip(String(one.status), one.status < 300 ? "ok" : one.status === 429 ? "wait" : "bad");
}

function received(item, one) {
  const headers = (of) => Object.entries(of).map(([name, value]) => `${name}: ${value}`).join("\n");
  const summary = make("summary", {}, at(one.time * 1000), make("b", {}, one.provider), make("span", { class: "grow type" }, one.type ?? "(no type)"),
    one.repeat ? chip("same as before") : one.update ? chip("update") : "", verdict(one), status(one));
  const answer = one.ended && one.status !== null
    ? block([`HTTP ${one.status}`, headers(one.answer_headers), one.answer === null ? "" : `\n${pretty(one.answer)}`].filter(Boolean).join("\n"), "Answer")
    : make("p", { class: "soft" }, one.ended ? "none: the connection was reset" : "not yet");
  item.replaceChildren(summary,
    make("h4", {}, `Request, for the account ${one.account}`), block(`${one.method} ${one.url}\n${headers(one.headers)}`, "Request"),
    make("h4", {}, "Body"), block(pretty(one.body), "Body"),
    ...(one.violations?.length ? [make("h4", {}, "Breaks the contract"), make("ul", { class: "reasons" }, ...one.violations.map(wrong))] : []),
    make("h4", {}, "Answer"), answer);
}

// ------------------------------------------------------------------------------------------------------------ lanes

const queues = new Map();
const accounts = new Map();

/** A line over the last two minutes, the newest at the right; `most` is the height of the dashed line. */
function line(values, most, label) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const high = Math.max(most ?? 0, ...values, 0.001) * 1.12;
  const points = values.map((value, index) => `${(120 - values.length + index + 1).toFixed(1)},${(40 - (value / high) * 40).toFixed(1)}`);
  const part = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    svg.append(made);
  };
  svg.setAttribute("class", "line");
  svg.setAttribute("viewBox", "0 0 120 41");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  if (points.length) {
    part("polygon", { class: "under", points: `${121 - values.length},40 ${points.join(" ")} 120,40` });
    part("polyline", { class: "used", points: points.join(" ") });
  }
  if (most) part("line", { class: "most", x1: 0, x2: 120, y1: 40 - (most / high) * 40, y2: 40 - (most / high) * 40 });
  return svg;
}

function depth(queue, name) {
  const sum = queue.waiting + queue.hidden;
  return make("div", { class: "depth" }, make("b", {}, String(sum)),
    make("span", { class: "soft" }, `${queue.waiting} waiting · ${queue.hidden} in flight`),
    line(queue.past, null, `Messages in ${name} over two minutes, now ${sum}`));
}

const STATES = { working: "ok", waiting: "wait", probing: "wait", held: "bad" };

function account(destination, one) {
  const left = one.until ? Math.max(0, Math.ceil(one.until - Date.now() / 1000)) : null;
  const until = left === null ? "" : ` until ${clock(one.until * 1000)} (${left} s)`;
  const pace = `${one.used} of ${one.allowed} in ${one.seconds} s`;
  return make("div", { class: "account" },
    make("div", { class: "row" }, make("b", { class: "grow" }, destination), chip(one.state + until, STATES[one.state])),
    one.why ? make("p", { class: "soft" }, one.why) : "",
    line(one.past, 1, `Pace of ${destination} over two minutes, now ${pace}`),
    make("div", { class: "row soft number" }, make("span", { class: "grow" }, `pace: ${pace}`), make("span", {}, "two minutes")));
}

function showLanes() {
  const lanes = [...queues.keys()].filter((name) => queues.has(name.replace("QueueUrl", "DeadLetterQueueUrl")));
  const intake = queues.get("IntakeQueueUrl");
  const count = (name) => { const one = queues.get(name); return one ? one.waiting + one.hidden : 0; };
  const cards = [];
  if (intake) {
    cards.push(make("div", { class: "card lane" },
      make("div", { class: "row" }, make("h3", { class: "grow" }, "Intake queue"), chip(`${count("RejectedQueueUrl")} rejected`, count("RejectedQueueUrl") ? "bad" : "")),
      depth(intake, "the intake queue")));
  }
  for (const name of lanes) {
    const provider = name.replace("QueueUrl", "").toLowerCase();
    const dead = count(name.replace("QueueUrl", "DeadLetterQueueUrl"));
    const own = [...accounts].filter(([destination]) => destination.startsWith(`${provider}/`)).sort();
    cards.push(make("div", { class: "card lane" },
      make("div", { class: "row" }, make("h3", { class: "grow" }, `Lane of ${provider}`), chip(by(dead, "dead letters"), dead ? "bad" : "")),
      depth(queues.get(name), `the lane of ${provider}`),
      ...own.map(([destination, one]) => account(destination, one))));
  }
  find("lane-list").replaceChildren(...cards);
  find("lanes-count").textContent = lanes.length ? `${["IntakeQueueUrl", ...lanes].reduce((sum, name) => sum + count(name), 0)} on the way` : "";
}

// ---------------------------------------------------------------------------------------------------------- trouble

function showTrouble(provider, { kind }) {
  const id = `trouble-${provider}`;
  if (!find(id)) {
    const buttons = TROUBLES.map(([name, label, words = label]) => {
      const button = make("button", { type: "button", class: name, "data-kind": name, "aria-pressed": "false", "aria-label": `${provider}: ${words}` }, label);
      button.addEventListener("click", () => post("trouble", { provider, kind: name }));
      return button;
    });
    find("trouble").append(make("div", { class: "row", id, role: "group", "aria-label": `How ${provider} behaves` }, make("span", { class: "name" }, provider), ...buttons));
  }
  for (const button of find(id).querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.dataset.kind === kind));
}

find("clear").addEventListener("click", () => post("trouble", { kind: "normal" }));

// ------------------------------------------------------------------------------------------------------- the stream

const LISTS = {
  came: { list: document.querySelector("#came .list"), items: new Map(), show: arrival, tag: "li" },
  received: { list: document.querySelector("#received .list"), items: new Map(), show: received, tag: "details" },
};

function showList(kind, changed) {
  const { list, items, show, tag } = LISTS[kind];
  for (const [key, value] of Object.entries(changed).sort(([one], [other]) => one - other)) {
    if (!items.has(key)) {
      const item = make(tag, { class: "item" });
      items.set(key, item);
      list.prepend(tag === "li" ? item : make("li", {}, item));
    }
    show(items.get(key), value);
  }
  while (list.children.length > SHOWN) list.lastElementChild.remove();
  for (const [key, item] of items) if (!item.isConnected) items.delete(key);
}

function clearList(kind) {
  if (!LISTS[kind]) return;
  LISTS[kind].items.clear();
  LISTS[kind].list.replaceChildren();
}

const LINK = {
  starting: ["the stack is being started …", "wait"],
  up: ["live", "ok"],
  silent: ["the stack does not answer", "bad"],
  unreadable: ["the stack cannot be read: see sandbox.log", "bad"],
};

function showLink(text, kind) {
  const link = find("link");
  if (link.textContent !== text) Object.assign(link, { textContent: text, className: `chip ${kind}` });
}

let link = ["connecting …", "wait"];

function hear(news) {
  if (news.first) Object.keys(LISTS).forEach(clearList);
  news.cleared.forEach(clearList);
  if (news.stack) {
    const before = link[0];
    link = LINK[news.stack.stack.state];
    if (before !== link[0] && link[1] === "ok") look();
  }
  showLink(...link);
  for (const kind of Object.keys(LISTS)) if (news[kind]) showList(kind, news[kind]);
  for (const [name, value] of Object.entries(news.queues ?? {})) queues.set(name, value);
  for (const [name, value] of Object.entries(news.accounts ?? {})) {
    if (accounts.get(name)?.state !== value.state && value.state !== "working") tell(`${name} is ${value.state}: ${value.why}`);
    accounts.set(name, value);
  }
  if (news.queues || news.accounts) showLanes();
  for (const [provider, value] of Object.entries(news.trouble ?? {})) showTrouble(provider, value);
  if (news.counts?.came) {
    const { accepted, rejected } = news.counts.came;
    find("came-count").textContent = `${accepted} accepted · ${rejected} rejected`;
    if (!news.first) tell(`${accepted} accepted, ${rejected} rejected`);
  }
  if (news.received) find("received-count").textContent = by(Math.max(...Object.keys(news.received)), "requests");
}

const stream = new EventSource("/_page/stream");
stream.onmessage = (message) => hear(JSON.parse(message.data));
stream.onerror = () => showLink("not connected: trying again …", "bad");

let telling = null;
let sentence = "";

/** Says it to who listens: the last sentence, not oftener than they can hear. */
function tell(text) {
  sentence = text;
  telling ??= setTimeout(() => { find("told").textContent = sentence; telling = null; }, TELL);
}

// ------------------------------------------------------------------------------------------------------------- send

async function post(path, body, signal) {
  try {
    const answer = await fetch(`/_page/${path}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });
    const content = await answer.json();
    return answer.ok ? content : { error: content.error ?? content.errors?.map((one) => `${one.loc.join(".")}: ${one.msg}`).join("; ") };
  } catch (error) {
    return error.name === "AbortError" ? null : { error: "the page's server does not answer" };
  }
}

let looking = new AbortController();

/** Asks what would become of what stands there. */
async function look() {
  looking.abort();
  looking = new AbortController();
  const found = await post("preview", { text: find("text").value }, looking.signal);
  if (found) showPreview(found);
}

function showPreview({ error, errors = [], requests = {} }) {
  const chipOf = find("verdict");
  const [text, kind] = error ? [error, "wait"] : errors.length ? [`would be rejected: ${by(errors.length, "errors")}`, "bad"] : ["valid", "ok"];
  Object.assign(chipOf, { textContent: text, className: `chip ${kind}` });
  find("text").setAttribute("aria-invalid", String(errors.length > 0));
  find("errors").replaceChildren(...errors.map(wrong));
  find("requests").replaceChildren(...Object.entries(requests).map(([destination, one]) => make("article", {},
    make("h3", {}, destination, one.request ? "" : chip("would be a dead letter", "bad")),
    one.request
      ? block(`${one.request.method} ${one.request.url}\n${Object.entries(one.request.headers).map(([name, value]) => `${name}: ${value}`).join("\n")}\n\n${pretty(one.request.body)}`, `Request to ${destination}`)
      : make("ul", { class: "errors" }, ...one.errors.map(wrong)))));
}

let typing = null;
find("text").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(look, QUIET); });
find("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("form").requestSubmit();
});

find("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = find("send");
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  find("sent").textContent = "sending …";
  const order = {
    text: find("text").value,
    way: new FormData(find("form")).get("way"),
    copies: Number(find("copies").value),
    fresh: find("fresh").checked ? Date.now().toString(36).slice(-5) : "",
  };
  const done = await post("send", order);
  button.removeAttribute("aria-disabled");
  find("sent").textContent = done.error ? `Not sent: ${done.error}` : told(done);
});

function told({ way, sent, answer }) {
  const where = { SQS: "to the intake queue", EventBridge: "to the event bus", direct: "by a direct call" }[way];
  const heard = answer ? `: ${answer.accepted.length} accepted, ${answer.rejected.length} rejected` : "";
  return `Sent ${by(sent, "events")} ${where}${heard}.`;
}

const samples = (await (await fetch("/_page/samples")).json()).samples;
find("sample").append(...samples.map((one, index) => make("option", { value: index }, one.name)));
find("sample").addEventListener("change", () => { find("text").value = samples[find("sample").value].text; look(); });
const first = Math.max(0, samples.findIndex((one) => one.name === "direct-order-shipped"));
find("sample").value = first;
find("text").value ||= samples[first].text;
look();
