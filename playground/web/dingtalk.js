// DingTalk's messages and cards as its client would draw them.

import { avatar, el, link, safeUrl } from "./draw.js";

const SEND = "dtmd://dingtalkclient/sendMessage";
const COLORS = { red: "#e5484d", green: "#2f9e44", blue: "#1677ff", orange: "#d9730d", gray: "#868e96", grey: "#868e96", yellow: "#b7791f" };

function colorOf(given) {
  if (!given) return null;
  if (/^#[0-9a-f]{3,8}$/i.test(given)) return given;
  const token = /^common_([a-z]+)\d*_/.exec(given);
  return COLORS[token ? token[1] : given.toLowerCase()] ?? null;
}

// `press(url, label)` draws a link that is more than a link; null draws it as text.
export function markdown(source, press) {
  const nodes = [];
  let list = null;
  let quote = null;
  const lines = String(source).replace(/\r/g, "").split("\n");
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at];
    if (/^\s*```/.test(line)) {
      const code = [];
      for (at += 1; at < lines.length && !/^\s*```/.test(lines[at]); at += 1) code.push(lines[at]);
      nodes.push(el("pre", { tabindex: "0" }, code.join("\n")));
      list = quote = null;
      continue;
    }
    const head = /^\s{0,3}(#{1,6})\s+(.*)$/.exec(line);
    const item = /^\s*(?:[-*+]|(\d+)\.)\s+(.*)$/.exec(line);
    const quoted = /^\s{0,3}>\s?(.*)$/.exec(line);
    if (quoted) {
      if (!quote) nodes.push((quote = el("blockquote")));
      else quote.append(el("br"));
      quote.append(...spans(quoted[1], press));
      list = null;
      continue;
    }
    quote = null;
    if (item) {
      if (!list) nodes.push((list = el(item[1] ? "ol" : "ul")));
      list.append(el("li", {}, ...spans(item[2], press)));
      continue;
    }
    list = null;
    if (head) nodes.push(el("p", { class: `d-head h${Math.min(head[1].length, 4)}` }, ...spans(head[2], press)));
    else if (/^\s*(---|\*\*\*)\s*$/.test(line)) nodes.push(el("hr"));
    else if (line.trim()) nodes.push(el("p", {}, ...spans(line, press)));
  }
  return nodes;
}

const SPAN = /(`[^`]+`)|(!?)\[([^\]]*)\]\(((?:[^()\s]|\([^()\s]*\))+)\)|(\*\*|__)(?=\S)(.+?)\5|(\*)(?=\S)(.+?)\7|<font\s+([^>]*)>(.*?)<\/font>|\\([\\`*_])/s;

function spans(text, press) {
  const nodes = [];
  let rest = text;
  while (rest) {
    const found = SPAN.exec(rest);
    if (!found) break;
    if (found.index) nodes.push(rest.slice(0, found.index));
    if (found[1]) nodes.push(el("code", {}, found[1].slice(1, -1)));
    else if (found[4]) nodes.push(anchor(found[2], found[3], found[4], press));
    else if (found[5]) nodes.push(el("strong", {}, ...spans(found[6], press)));
    else if (found[7]) nodes.push(el("em", {}, ...spans(found[8], press)));
    else if (found[11]) nodes.push(found[11]);
    else nodes.push(font(found[9], found[10], press));
    rest = rest.slice(found.index + found[0].length);
  }
  if (rest) nodes.push(rest);
  return nodes;
}

function anchor(bang, label, url, press) {
  if (bang) return safeUrl(url) ? el("img", { src: url, alt: label, loading: "lazy" }) : el("span", {}, `[${label || "图片"}]`);
  if (url.startsWith(SEND)) return press?.(url, label) ?? el("span", { class: "soft" }, label);
  return link(url, label);
}

function font(attributes, inner, press) {
  const node = el("span", {}, ...spans(inner, press));
  const found = /color(?:TokenV2)?\s*=\s*["']?([#\w]+)/i.exec(attributes);
  const color = found && colorOf(found[1]);
  if (color) node.style.color = color;
  return node;
}

function component(given, act) {
  switch (given.type) {
    case "title":
      return el("h3", { class: "d-title" }, given.text);
    case "tag": {
      const node = el("span", { class: "d-tag" }, given.text);
      node.style.setProperty("--tag", colorOf(given.color) ?? COLORS.blue);
      return node;
    }
    case "text":
      return el("p", { class: given.bold ? "d-text bold" : "d-text" }, given.text);
    case "markdown":
      return el("div", { class: "d-markdown" }, ...markdown(given.content, null));
    case "fields":
      return el("dl", { class: "d-fields" }, ...given.items.flatMap((one) => [el("dt", {}, String(one.label ?? "")), el("dd", {}, String(one.value ?? ""))]));
    case "buttons":
      return el("div", { class: "d-buttons" }, ...given.buttons.map((one) => act(one)));
    case "divider":
      return el("hr");
    default:
      return null;
  }
}

function card(components, act) {
  const head = components.filter((one, number) => one.type === "tag" || (one.type === "title" && number === components.findIndex((each) => each.type === "title")));
  const rest = components.filter((one) => !head.includes(one));
  return el(
    "div",
    { class: "d-card" },
    head.length ? el("div", { class: "d-card-head" }, ...head.map((one) => component(one, act))) : null,
    ...rest.map((one) => component(one, act)),
  );
}

function content(shown, act) {
  const payload = shown.payload;
  const press = (url, label) => {
    const found = shown.actions.find((one) => one.url === url && one.label === label);
    return found ? act({ ...found, text: label }, "d-say") : null;
  };
  switch (payload.msgtype) {
    case "card":
      return card(payload.components, act);
    case "markdown":
      return el("div", { class: "bubble" }, ...markdown(named(payload.markdown.text, shown.mentions), press));
    case "actionCard":
      return el(
        "div",
        { class: "d-card" },
        el("div", { class: "d-markdown" }, ...markdown(payload.actionCard.text, null)),
        el("div", { class: "d-buttons" }, ...shown.actions.map((one) => act({ ...one, text: one.label }))),
      );
    case "link":
    case "feedCard":
      return el("div", { class: "d-card" }, ...shown.actions.map((one) => el("p", {}, link(one.url, one.label))));
    default:
      return el("div", { class: "bubble" }, ...lines(shown.text));
  }
}

// A message calls people by id; the client shows their names.
function named(text, mentions) {
  return Object.entries(mentions ?? {}).reduce((all, [id, name]) => all.replaceAll(`@${id}`, `@${name}`), text);
}

function lines(text) {
  return text.split("\n").flatMap((line, number) => (number ? [el("br"), ...mentions(line)] : mentions(line)));
}

function mentions(line) {
  return line.split(/(@[\p{L}\p{N}_]+)/u).map((part) => (part.startsWith("@") && part.length > 1 ? el("span", { class: "d-at" }, part) : part));
}

// `act(shown, button, style)` draws a control of this message.
export function message(shown, me, act) {
  const isBot = shown.author_id.startsWith("$:");
  const isMine = shown.author_id === me;
  return el(
    "article",
    { class: `d-message${isMine ? " mine" : ""}`, id: `m-${shown.id}` },
    avatar(shown.author, isBot),
    el(
      "div",
      { class: "d-main" },
      el("p", { class: "message-head" }, el("span", {}, shown.author), isBot && el("span", { class: "badge" }, "机器人"), shown.edits > 0 && el("span", { class: "soft" }, `updated ${shown.edits}×`)),
      content(shown, (button, style) => act(shown, button, style)),
    ),
  );
}
