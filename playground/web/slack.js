// Slack's messages and modals as its client would draw them.

import { avatar, clock, el, link, withEmoji } from "./draw.js";

const names = new Map();

export function learnNames(known) {
  for (const [id, name] of Object.entries(known)) names.set(id, name);
}

const unescape = (text) => text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

export function mrkdwn(text) {
  const nodes = [];
  for (const part of String(text).split(/(```[\s\S]*?```)/)) {
    if (part.startsWith("```") && part.length >= 6) nodes.push(el("pre", { tabindex: "0" }, unescape(part.slice(3, -3).replace(/^\n|\n$/g, ""))));
    else if (part) nodes.push(...paragraphs(part));
  }
  return nodes;
}

function paragraphs(text) {
  const nodes = [];
  let quoted = [];
  const flush = () => {
    if (quoted.length) nodes.push(el("blockquote", {}, ...joinLines(quoted)));
    quoted = [];
  };
  const plain = [];
  const flushPlain = () => {
    if (plain.length) nodes.push(el("span", { class: "run" }, ...joinLines(plain.splice(0))));
  };
  for (const line of text.replace(/^\n|\n$/g, "").split("\n")) {
    const found = /^(?:&gt;|>)\s?(.*)$/.exec(line);
    if (found) {
      flushPlain();
      quoted.push(found[1]);
    } else {
      flush();
      plain.push(line);
    }
  }
  flushPlain();
  flush();
  return nodes;
}

function joinLines(lines) {
  return lines.flatMap((line, number) => (number ? [el("br"), ...inline(line)] : inline(line)));
}

const INLINE = /(`[^`\n]+`)|<([^<>\s][^<>]*)>|(?<![\p{L}\p{N}*_~])([*_~])(?=\S)([^\n]+?)(?<=\S)\3(?![\p{L}\p{N}*_~])/u;
const WRAPS = { "*": "strong", _: "em", "~": "s" };

function inline(text) {
  const nodes = [];
  let rest = text;
  while (rest) {
    const found = INLINE.exec(rest);
    if (!found) break;
    if (found.index) nodes.push(unescape(withEmoji(rest.slice(0, found.index))));
    if (found[1]) nodes.push(el("code", {}, unescape(found[1].slice(1, -1))));
    else if (found[2]) nodes.push(token(found[2]));
    else nodes.push(el(WRAPS[found[3]], {}, ...inline(found[4])));
    rest = rest.slice(found.index + found[0].length);
  }
  if (rest) nodes.push(unescape(withEmoji(rest)));
  return nodes;
}

function token(given) {
  const cut = given.indexOf("|");
  const target = cut < 0 ? given : given.slice(0, cut);
  const label = cut < 0 ? "" : unescape(given.slice(cut + 1));
  if (target.startsWith("@")) return el("span", { class: "mention" }, "@" + (label || names.get(target.slice(1)) || target.slice(1)));
  if (target.startsWith("#")) return el("span", { class: "mention" }, "#" + (label || names.get(target.slice(1)) || target.slice(1)).replace(/^#/, ""));
  if (target.startsWith("!date^")) return date(target, label);
  if (target.startsWith("!")) return el("span", { class: "mention loud" }, "@" + (label || target.slice(1).split("^")[0]).replace(/^@/, ""));
  return link(unescape(target), withEmoji(label) || unescape(target).replace(/^mailto:/, ""));
}

function date(target, fallback) {
  const [, stamp, format, url] = target.split("^");
  const when = new Date(Number(stamp) * 1000);
  if (Number.isNaN(when.getTime())) return el("span", {}, fallback);
  const shape = (options) => new Intl.DateTimeFormat([], options).format(when);
  const day = new Date(when).setHours(0, 0, 0, 0);
  const today = new Date().setHours(0, 0, 0, 0);
  const near = { 0: "today", [-1]: "yesterday", 1: "tomorrow" }[Math.round((day - today) / 86_400_000)];
  const parts = {
    date_num: () => shape({ year: "numeric", month: "2-digit", day: "2-digit" }),
    date_slash: () => shape({ year: "numeric", month: "2-digit", day: "2-digit" }),
    date: () => shape({ year: "numeric", month: "long", day: "numeric" }),
    date_short: () => shape({ year: "numeric", month: "short", day: "numeric" }),
    date_long: () => shape({ weekday: "long", year: "numeric", month: "long", day: "numeric" }),
    date_pretty: () => near ?? parts.date(),
    date_short_pretty: () => near ?? parts.date_short(),
    date_long_pretty: () => near ?? parts.date_long(),
    time: () => shape({ hour: "2-digit", minute: "2-digit" }),
    time_secs: () => shape({ hour: "2-digit", minute: "2-digit", second: "2-digit" }),
    ago: () => ago(when),
  };
  const text = format.replace(/\{(\w+)\}/g, (whole, name) => parts[name]?.() ?? whole);
  const node = el("time", { datetime: when.toISOString(), title: when.toLocaleString() }, text);
  return url ? link(url, node) : node;
}

function ago(when) {
  const seconds = Math.round((when - Date.now()) / 1000);
  const shape = new Intl.RelativeTimeFormat([], { numeric: "auto" });
  if (Math.abs(seconds) < 60) return shape.format(seconds, "second");
  if (Math.abs(seconds) < 3600) return shape.format(Math.round(seconds / 60), "minute");
  return shape.format(Math.round(seconds / 3600), "hour");
}

function text(given) {
  if (!given) return [];
  return given.type === "mrkdwn" ? mrkdwn(given.text) : [withEmoji(given.text ?? "")];
}

// `use(control)` draws an interactive element, knowing what it stands in.
export function blocks(list, use) {
  return (list ?? []).map((block) => drawBlock(block, use));
}

function drawBlock(block, use) {
  switch (block.type) {
    case "header":
      return el("h3", { class: "b-header" }, ...text(block.text));
    case "divider":
      return el("hr");
    case "section":
      return el(
        "div",
        { class: "b-section" },
        el(
          "div",
          { class: "b-section-text" },
          block.text && el("div", { class: "b-text" }, ...text(block.text)),
          block.fields && el("div", { class: "b-fields" }, ...block.fields.map((one) => el("div", { class: "b-text" }, ...text(one)))),
        ),
        block.accessory && el("div", { class: "b-accessory" }, element(block, block.accessory, use)),
      );
    case "context":
      return el("div", { class: "b-context" }, ...block.elements.map((one) => (one.type === "image" ? picture(one) : el("span", {}, ...text(one)))));
    case "actions":
    case "context_actions":
      return el("div", { class: "b-actions" }, ...block.elements.map((one) => element(block, one, use)));
    case "image":
      return el("figure", { class: "b-image" }, block.title && el("figcaption", {}, ...text(block.title)), picture(block));
    case "input":
      return input(block, use);
    case "markdown":
      return el("div", { class: "b-text" }, ...mrkdwn(block.text.replace(/\*\*(.+?)\*\*/g, "*$1*").replace(/\[([^\]]+)\]\((https?:[^)\s]+)\)/g, "<$2|$1>")));
    case "rich_text":
      return el("div", { class: "b-text" }, ...block.elements.map(rich));
    case "table":
      return el("table", { class: "b-table" }, el("tbody", {}, ...block.rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, ...(cell.elements ? cell.elements.map(rich) : [cell.text ?? ""])))))));
    case "alert":
      return el("div", { class: `b-alert ${block.level ?? "default"}` }, ...text(block.text));
    default:
      return el("div", { class: "b-unknown" }, `[${block.type}]`);
  }
}

function picture(given) {
  return el("img", { src: given.image_url, alt: given.alt_text, loading: "lazy" });
}

function rich(given) {
  switch (given.type) {
    case "rich_text_section":
      return el("span", {}, ...given.elements.map(rich));
    case "rich_text_preformatted":
      return el("pre", { tabindex: "0" }, ...given.elements.map((one) => one.text ?? one.url ?? ""));
    case "rich_text_quote":
      return el("blockquote", {}, ...given.elements.map(rich));
    case "rich_text_list":
      return el(given.style === "ordered" ? "ol" : "ul", {}, ...given.elements.map((one) => el("li", {}, rich(one))));
    case "user":
      return el("span", { class: "mention" }, "@" + (names.get(given.user_id) ?? given.user_id));
    case "link":
      return link(given.url, given.text ?? given.url);
    case "emoji":
      return withEmoji(`:${given.name}:`);
    default: {
      const style = given.style ?? {};
      const tag = style.code ? "code" : style.bold ? "strong" : style.italic ? "em" : style.strike ? "s" : "span";
      return el(tag, {}, given.text ?? "");
    }
  }
}

function element(block, given, use) {
  return given.type === "image" ? picture(given) : use(block, given);
}

function input(block, use) {
  const id = `input-${block.block_id}`;
  const control = use(block, block.element, id);
  return el(
    "div",
    { class: "b-input" },
    el("label", { for: id }, ...text(block.label), block.optional && el("span", { class: "soft" }, " (optional)")),
    control,
    block.hint && el("p", { class: "soft" }, ...text(block.hint)),
  );
}

export function optionsOf(given) {
  return (given.options ?? []).concat((given.option_groups ?? []).flatMap((group) => group.options));
}

export function plainOf(given) {
  return withEmoji(given?.text ?? "");
}

function attachment(given, use) {
  const bar = el("div", { class: "attachment" });
  bar.style.setProperty("--bar", { good: "#2eb886", warning: "#daa038", danger: "#a30200" }[given.color] ?? (/^#?[0-9a-f]{6}$/i.test(given.color ?? "") ? "#" + given.color.replace("#", "") : "var(--line)"));
  if (given.blocks?.length) bar.append(...blocks(given.blocks, use));
  else {
    const lines = [
      given.author_name && el("div", { class: "soft" }, given.author_name),
      given.title && el("div", { class: "attachment-title" }, given.title_link ? link(given.title_link, withEmoji(given.title)) : withEmoji(given.title)),
      given.text && el("div", { class: "b-text" }, ...mrkdwn(given.text)),
      given.fields?.length && el("div", { class: "b-fields" }, ...given.fields.map((one) => el("div", { class: "b-text" }, el("strong", {}, one.title), el("br"), ...mrkdwn(one.value)))),
      given.footer && el("div", { class: "soft" }, given.footer),
    ];
    bar.append(...lines.filter(Boolean));
  }
  return el("div", {}, given.pretext && el("div", { class: "b-text" }, ...mrkdwn(given.pretext)), bar);
}

export function message(shown, { use, isOpen, onThread }) {
  const payload = shown.payload;
  const isBot = Boolean(payload.bot_id) || shown.author_id === "USLACKBOT";
  if (payload.subtype === "tombstone") return el("article", { class: "message gone" }, el("p", { class: "soft" }, shown.text), thread(shown, { use, isOpen, onThread }));
  const useHere = (block, given, id) => use(shown, block, given, id);
  const body = payload.blocks?.length ? blocks(payload.blocks, useHere) : mrkdwn(payload.text ?? "");
  const marks = shown.is_marked_edited ? "(edited)" : shown.edits ? `updated ${shown.edits}×` : "";
  return el(
    "article",
    { class: shown.to_id ? "message ephemeral" : "message", id: `m-${shown.id}` },
    avatar(shown.author, isBot),
    el(
      "div",
      { class: "message-main" },
      shown.to_id && el("p", { class: "only-you" }, el("span", { "aria-hidden": "true" }, "👁 "), "Only visible to you"),
      el(
        "p",
        { class: "message-head" },
        el("strong", {}, shown.author),
        isBot && el("span", { class: "badge" }, "APP"),
        el("time", { class: "soft", datetime: new Date(shown.id * 1000).toISOString() }, clock(shown.id)),
        marks && el("span", { class: "soft" }, marks),
      ),
      el("div", { class: "message-body" }, ...body, ...(payload.attachments ?? []).map((one) => attachment(one, useHere)), ...(payload.files ?? []).map(file)),
      payload.reactions?.length && el("p", { class: "reactions" }, ...payload.reactions.map((one) => el("span", { class: "reaction" }, withEmoji(`:${one.name}:`), ` ${one.count}`))),
      thread(shown, { use, isOpen, onThread }),
    ),
  );
}

function file(given) {
  const isPicture = ["image/png", "image/jpeg", "image/gif"].includes(given.mimetype);
  const path = new URL(given.url_private, location.href).pathname;
  const caption = el("figcaption", { class: "soft" }, link(given.url_private, given.title));
  return el("figure", { class: "b-image file" }, caption, isPicture && el("img", { src: path, alt: given.alt_txt || given.title, loading: "lazy" }));
}

function thread(shown, { use, isOpen, onThread }) {
  const count = shown.thread.length;
  if (!count) return null;
  const open = isOpen(shown.id);
  const label = `${count} ${count === 1 ? "reply" : "replies"}`;
  const button = el(
    "button",
    { type: "button", class: "thread-toggle", "aria-expanded": String(open), data: { focus: `thread-${shown.id}` }, on: { click: () => onThread(shown.id) } },
    open ? `Hide ${label}` : label,
    !open && el("span", { class: "soft" }, `  last at ${clock(shown.thread.at(-1).id)}`),
  );
  return el("div", { class: "thread" }, button, open && el("div", { class: "thread-posts" }, ...shown.thread.map((one) => message(one, { use, isOpen, onThread }))));
}
