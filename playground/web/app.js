// The page: shows the state, lets a visitor act as a person, and keeps up with every change.

import { el, focusWithin, loadEmoji, reconcile, restoreFocus, safeUrl } from "./draw.js";
import * as slack from "./slack.js";
import * as dingtalk from "./dingtalk.js";

const $ = (id) => document.getElementById(id);
const HINTS = { slack: ["/ship help", "/ship status", "@Shipmate status"], dingtalk: ["@Shipmate 帮助", "@Shipmate 状态"] };
const choice = { slack: { channel: "#ci", person: null }, dingtalk: { channel: "研发群", person: null } };
const RECENT = 200;
const openThreads = new Set();
let state = null;
let world = null;
let hasBudgets = true;

async function call(verb, path, body) {
  const answer = await fetch(path, { method: verb, headers: { "Content-Type": "application/json" }, body: body === undefined ? undefined : JSON.stringify(body) });
  return answer.json();
}

function toast(text) {
  const node = el("div", { class: "toast" }, text);
  $("toasts").append(node);
  setTimeout(() => node.remove(), 6000);
}

async function act(platform, what) {
  try {
    const answer = await call("POST", "/api/act", { platform, channel: choice[platform].channel, as: choice[platform].person, ...what });
    if (!answer.ok && answer.text && !answer.shown?.length) toast(answer.text);
    return answer;
  } catch {
    toast("The playground does not answer.");
    return { ok: false };
  } finally {
    refresh();
  }
}

// --- what people do -------------------------------------------------------------------------------------------------

async function pressed(button, platform, what) {
  button.setAttribute("aria-busy", "true");
  const answer = await act(platform, what);
  button.removeAttribute("aria-busy");
  return answer;
}

function openUrl(url) {
  const href = url && safeUrl(url);
  if (href) window.open(href, "_blank", "noopener");
}

function slackControl(where, block, given, id) {
  const what = (value) => ({ click: { ...where, action: `${block.block_id}/${given.action_id}`, ...(value === undefined ? {} : { value }) } });
  const focus = `${block.block_id}/${given.action_id}`;
  if (given.type === "button") {
    const node = el("button", { type: "button", class: `b-button ${given.style ?? ""}`, "aria-label": given.accessibility_label, data: { focus } }, slack.plainOf(given.text));
    node.addEventListener("click", async () => {
      if (given.confirm && !(await confirmed(given.confirm))) return;
      openUrl(given.url);
      pressed(node, "slack", what());
    });
    return node;
  }
  if (block.type === "input") return inputControl(block, given, id, focus);
  if (slack.optionsOf(given).length) {
    const label = slack.plainOf(given.placeholder) || "Choose…";
    const node = el("select", { class: "b-select", "aria-label": label, data: { focus } }, el("option", { value: "" }, given.type === "overflow" ? "⋯" : label), ...slack.optionsOf(given).map((one) => el("option", { value: one.value }, slack.plainOf(one.text))));
    node.addEventListener("change", () => node.value && pressed(node, "slack", what(node.value)));
    return node;
  }
  const kind = { datepicker: "date", timepicker: "time" }[given.type] ?? "text";
  const node = el("input", { class: "b-field", type: kind, "aria-label": slack.plainOf(given.placeholder) || given.type, data: { focus } });
  node.addEventListener("change", () => pressed(node, "slack", what(node.value)));
  return node;
}

function inputControl(block, given, id, focus) {
  const properties = { id, class: "b-field", data: { focus, block: block.block_id, action: given.action_id }, placeholder: slack.plainOf(given.placeholder) };
  const options = slack.optionsOf(given);
  const chosen = [given.initial_option, ...(given.initial_options ?? [])].filter(Boolean).map((one) => one.value);
  if (given.type === "checkboxes" || given.type === "radio_buttons") {
    const kind = given.type === "checkboxes" ? "checkbox" : "radio";
    const boxes = options.map((one) => el("label", { class: "b-choice" }, el("input", { type: kind, name: id, value: one.value, checked: chosen.includes(one.value), data: { block: block.block_id, action: given.action_id, many: kind === "checkbox" ? "1" : "" } }), slack.plainOf(one.text)));
    return el("div", { id, role: "group" }, ...boxes);
  }
  if (options.length) {
    return el("select", { ...properties, multiple: given.type.startsWith("multi_") }, !given.type.startsWith("multi_") && el("option", { value: "" }, properties.placeholder || "Choose…"), ...options.map((one) => el("option", { value: one.value, selected: chosen.includes(one.value) }, slack.plainOf(one.text))));
  }
  if (given.multiline) {
    const node = el("textarea", { ...properties, rows: "4", maxlength: given.max_length });
    node.value = given.initial_value ?? "";
    return node;
  }
  const kind = { datepicker: "date", timepicker: "time", number_input: "number", email_text_input: "email", url_text_input: "url" }[given.type] ?? "text";
  return el("input", { ...properties, type: kind, maxlength: given.max_length, value: given.initial_value ?? given.initial_date ?? given.initial_time });
}

function dingtalkControl(shown, button, style) {
  const isDisabled = button.status === "disabled";
  const node = el("button", { type: "button", class: style ?? `d-button ${button.color ?? ""}`, disabled: isDisabled, data: { focus: `${shown.id}/${button.id}` } }, button.text);
  node.addEventListener("click", async () => {
    if (button.url && !button.url.startsWith("dtmd:")) openUrl(button.url);
    else await pressed(node, "dingtalk", { click: { message: shown.id, action: button.id } });
  });
  return node;
}

function confirmed(given) {
  const dialog = $("confirm");
  return new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.replaceChildren(
      el(
        "form",
        { method: "dialog" },
        el("h2", { id: "confirm-title" }, slack.plainOf(given.title)),
        el("div", { class: "modal-body b-text" }, ...(given.text?.type === "mrkdwn" ? slack.mrkdwn(given.text.text) : [slack.plainOf(given.text)])),
        el("div", { class: "modal-foot" }, el("button", { value: "", class: "b-button" }, slack.plainOf(given.deny)), el("button", { value: "yes", class: `b-button ${given.style === "danger" ? "danger" : "primary"}` }, slack.plainOf(given.confirm))),
      ),
    );
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
  });
}

// --- modals ---------------------------------------------------------------------------------------------------------

function drawModal() {
  const dialog = $("modal");
  const mine = Object.values(state.platforms.slack.modals).filter((one) => one.to_id === choice.slack.person && one.is_on_top);
  const view = mine.at(-1);
  if (!view) {
    if (dialog.open) {
      dialog.dataset.view = "";
      dialog.close();
    }
    return;
  }
  const signature = `${view.id}/${view.payload.hash}`;
  if (dialog.dataset.signature !== signature || !dialog.open) {
    const focus = focusWithin(dialog);
    const typed = dialog.dataset.view === view.id ? entered(dialog) : {};
    dialog.replaceChildren(modalForm(view));
    for (const field of dialog.querySelectorAll(".b-field[data-block]")) {
      const value = typed[field.dataset.block]?.[field.dataset.action];
      if (value !== undefined && !Array.isArray(value)) field.value = value;
    }
    dialog.dataset.signature = signature;
    dialog.dataset.view = view.id;
    restoreFocus(dialog, focus);
  }
  if (!dialog.open) dialog.showModal();
}

function modalForm(view) {
  const payload = view.payload;
  const error = el("p", { class: "modal-error", role: "alert", hidden: true });
  const form = el(
    "form",
    { method: "dialog" },
    el("header", { class: "modal-head" }, el("h2", { id: "modal-title" }, view.title), el("button", { type: "button", class: "quiet", "aria-label": "Close", on: { click: () => closeModal() } }, "✕")),
    el("div", { class: "modal-body" }, ...slack.blocks(payload.blocks, (block, given, id) => slackControl({ view: view.id }, block, given, id))),
    error,
    el(
      "div",
      { class: "modal-foot" },
      el("button", { type: "button", class: "b-button", on: { click: () => closeModal() } }, slack.plainOf(payload.close) || "Close"),
      payload.submit && el("button", { type: "submit", class: "b-button primary" }, slack.plainOf(payload.submit)),
    ),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = await pressed(form, "slack", { submit: { view: view.id, values: entered(form) } });
    error.textContent = answer.ok ? "" : answer.text ?? "";
    error.hidden = answer.ok;
  });
  return form;
}

function entered(form) {
  const values = {};
  for (const field of form.querySelectorAll("[data-block]")) {
    const own = (values[field.dataset.block] ??= {});
    const action = field.dataset.action;
    if (field.dataset.many) {
      own[action] ??= [];
      if (field.checked) own[action].push(field.value);
    } else if (field.type === "radio") {
      if (field.checked) own[action] = field.value;
    } else if (field.multiple) own[action] = [...field.selectedOptions].map((one) => one.value);
    else own[action] = field.value || null;
  }
  return values;
}

function closeModal() {
  const view = $("modal").dataset.view;
  $("modal").close();
  if (view) act("slack", { close: view });
}

$("modal").addEventListener("cancel", (event) => {
  event.preventDefault();
  closeModal();
});

// --- drawing the columns --------------------------------------------------------------------------------------------

function part(platform, role) {
  return $(platform).querySelector(`[data-role="${role}"]`);
}

function drawColumn(platform) {
  const shown = state.platforms[platform];
  const person = choice[platform].person;
  const all = Object.entries(shown.channels).filter(([, channel]) => !channel.person || channel.person === person);
  if (!all.some(([name]) => name === choice[platform].channel)) choice[platform].channel = all[0][0];
  const name = choice[platform].channel;
  const isReady = shown.connections > 0 || shown.mode === "http";
  const pill = part(platform, "connection");
  pill.textContent = isReady ? "bot connected" : "waiting for the bot";
  pill.classList.toggle("on", isReady);
  reconcile(
    part(platform, "channels"),
    [...all.map(([key]) => ({ key, label: key })), ...(all.some(([, one]) => one.person) ? [] : [{ key: "direct", label: "＋ direct" }])].map((one) => ({ key: one.key, signature: `${one.label}/${one.key === name}`, item: one })),
    (one) => el("button", { type: "button", "aria-pressed": String(one.key === name), class: one.key === "direct" ? "quiet" : null, data: { focus: one.key }, on: { click: () => (one.key === "direct" ? openDirect(platform) : pick(platform, one.key)) } }, one.label),
  );
  drawFeed(platform, shown, shown.channels[name], name);
  const box = $(`${platform}-say`);
  const hint = platform === "slack" ? `Message ${name}: try ${world.slack.commands[0]} help` : shown.channels[name].person ? "发消息给 Shipmate" : "在群里 @Shipmate";
  if (box.placeholder !== hint) box.placeholder = hint;
}

function drawFeed(platform, shown, channel, name) {
  const feed = part(platform, "feed");
  const person = choice[platform].person;
  const isAtEnd = feed.scrollHeight - feed.scrollTop - feed.clientHeight < 80;
  const whispers = shown.ephemeral.filter((one) => one.channel === name && one.to_id === person);
  const messages = platform === "slack" ? [...channel.messages, ...whispers].sort((a, b) => a.id - b.id) : channel.messages;
  const items = messages.map((item) => ({ key: item.id, signature: JSON.stringify(item) + person + openThreads.has(item.id), item }));
  if (!items.length) items.push({ key: "empty", signature: String(channel.has_bot), item: null });
  reconcile(feed, items, (item, old) => {
    const node = item === null ? empty(platform, channel) : platform === "slack" ? slackMessage(item) : dingtalk.message(item, person, dingtalkControl);
    node.content = item && JSON.stringify(item);
    if (old && item && old.content !== node.content) node.classList.add("changed");
    return node;
  });
  if (isAtEnd) feed.scrollTop = feed.scrollHeight;
}

function slackMessage(item) {
  return slack.message(item, {
    use: (shown, block, given, id) => slackControl({ message: shown.id }, block, given, id),
    isOpen: (id) => openThreads.has(id),
    onThread: (id) => {
      if (!openThreads.delete(id)) openThreads.add(id);
      draw();
    },
  });
}

function empty(platform, channel) {
  const text = channel.has_bot ? "Nothing here yet. Say something, or wait for the bot." : platform === "slack" ? "The bot is not in this channel." : "Only a webhook robot writes here; it hears nothing.";
  return el("div", { class: "empty" }, el("p", {}, text), platform === "slack" && !channel.has_bot && el("button", { type: "button", class: "b-button", on: { click: () => act("slack", { invite: true }) } }, "Invite Shipmate"));
}

function pick(platform, name) {
  choice[platform].channel = name;
  draw();
  part(platform, "feed").scrollTop = part(platform, "feed").scrollHeight;
}

async function openDirect(platform) {
  const answer = await call("POST", "/api/act", { platform, as: choice[platform].person, direct: true, open: true });
  await refresh();
  if (answer.channel) pick(platform, answer.channel.name);
}

// --- under the hood -------------------------------------------------------------------------------------------------

async function drawHood() {
  if ($("hood").hidden) return;
  const since = Math.max(0, state.last_call - 30);
  const { calls } = await call("GET", `/api/calls?since=${since}`);
  reconcile(
    $("calls"),
    calls.reverse().map((one) => ({ key: String(one.seq), signature: String(one.seq), item: one })),
    (one) => {
      const isRefused = one.status !== 200 || one.answer?.ok === false || one.answer?.errcode > 0;
      const why = one.fault ?? one.answer?.error ?? one.answer?.code ?? (one.answer?.errcode > 0 ? one.answer.errcode : "");
      return el("li", { class: isRefused ? "refused" : null }, el("code", {}, one.method), " ", el("span", { class: "soft" }, one.place), isRefused && el("strong", {}, ` ${one.status} ${why}`));
    },
  );
  $("faults").replaceChildren(
    ...state.faults.map((one, number) =>
      el("li", {}, el("code", {}, `${one.platform} ${one.method}`), ` ${one.kind}${one.times === null ? "" : ` ×${one.times}`} `, el("button", { type: "button", class: "quiet", on: { click: () => setFaults(state.faults.filter((_, other) => other !== number)) } }, "Remove")),
    ),
  );
  $("violations").replaceChildren(...(state.violations.length ? [el("h2", {}, "What the bot did wrong"), el("ul", {}, ...state.violations.map((one) => el("li", {}, `${one.rule}: ${one.text}`)))] : []));
}

async function setFaults(rules) {
  const answer = await call("PUT", "/api/faults", rules);
  if (answer.ok === false) toast(answer.text);
  refresh();
}

$("fault-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = Object.fromEntries(new FormData(event.target));
  const rule = { platform: given.platform, method: given.method || "*", kind: given.kind };
  if (given.times) rule.times = Number(given.times);
  if (given.kind === "slow") rule.delay_s = 5;
  setFaults([...state.faults, rule]);
});

$("budgets").addEventListener("click", async () => {
  hasBudgets = !hasBudgets;
  await call("PUT", "/api/options", { budgets: hasBudgets });
  $("budgets").textContent = hasBudgets ? "Lift rate limits" : "Restore rate limits";
});

$("reset").addEventListener("click", async () => {
  await call("POST", "/api/reset");
  hasBudgets = true;
  $("budgets").textContent = "Lift rate limits";
  refresh();
});

$("hood-toggle").addEventListener("click", () => {
  $("hood").hidden = !$("hood").hidden;
  $("hood-toggle").setAttribute("aria-expanded", String(!$("hood").hidden));
  drawHood();
});

// --- life -----------------------------------------------------------------------------------------------------------

function draw() {
  drawColumn("slack");
  drawColumn("dingtalk");
  drawModal();
  drawHood();
}

let refreshing = null;
let isStale = false;

// Resolves once a state that was asked for after this call is shown.
function refresh() {
  isStale = true;
  refreshing ??= catchUp().finally(() => {
    refreshing = null;
  });
  return refreshing;
}

async function catchUp() {
  while (isStale) {
    isStale = false;
    try {
      state = await call("GET", `/api/state?recent=${RECENT}&as=${encodeURIComponent(choice.dingtalk.person)}`);
      draw();
    } catch (problem) {
      console.warn("no state", problem);
    }
  }
}

function setUp(platform) {
  const picker = part(platform, "person");
  for (const one of world[platform].people) picker.append(el("option", { value: one.id }, one.name + (one.is_bot ? " (bot)" : "")));
  choice[platform].person = picker.value;
  picker.addEventListener("change", () => {
    choice[platform].person = picker.value;
    refresh();
  });
  const box = $(`${platform}-say`);
  const form = part(platform, "composer");
  for (const hint of HINTS[platform]) {
    part(platform, "hints").append(el("button", { type: "button", class: "hint", on: { click: () => fill(box, hint) } }, hint));
  }
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  box.addEventListener("input", () => grow(box));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const say = box.value.trim();
    if (!say) return;
    box.value = "";
    grow(box);
    part(platform, "feed").scrollTop = part(platform, "feed").scrollHeight;
    await pressed(form, platform, { say });
  });
}

function fill(box, text) {
  box.value = text;
  box.focus();
  grow(box);
}

function grow(box) {
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight + 2, 140)}px`;
}

for (const button of document.querySelectorAll(".switch button")) {
  button.addEventListener("click", () => {
    for (const other of document.querySelectorAll(".switch button")) {
      const isThis = other === button;
      other.setAttribute("aria-pressed", String(isThis));
      $(other.dataset.platform).dataset.shown = String(isThis);
    }
    const feed = part(button.dataset.platform, "feed");
    feed.scrollTop = feed.scrollHeight;
  });
}

function followAddress() {
  const found = /^#slack\/([^/]+)\/p(\d+)(\d{6})$/.exec(decodeURIComponent(location.hash));
  if (!found) return;
  pick("slack", "#" + found[1]);
  const node = document.getElementById(`m-${found[2]}.${found[3]}`);
  if (node) {
    node.classList.add("changed");
    node.scrollIntoView({ block: "center" });
  }
}

async function start() {
  await loadEmoji();
  world = await call("GET", "/api/world");
  slack.learnNames(world.slack.names);
  HINTS.slack = [`${world.slack.commands[0]} help`, `${world.slack.commands[0]} status`, `@${world.bot} status`];
  setUp("slack");
  setUp("dingtalk");
  await refresh();
  followAddress();
  const events = new EventSource("/api/stream");
  events.onmessage = () => refresh();
  events.onerror = () => part("slack", "connection").classList.remove("on");
  addEventListener("hashchange", followAddress);
}

start();
