// Drawing without innerHTML: every text that comes from outside becomes a text node.

export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") node.className = value;
    else if (key === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (key === "data") Object.assign(node.dataset, value);
    else if (value === true) node.setAttribute(key, "");
    else node.setAttribute(key, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

let emoji = {};

export async function loadEmoji() {
  emoji = await (await fetch("/emoji.json")).json();
}

export function withEmoji(text) {
  return text.replace(/:([a-z0-9_+-]+):/g, (whole, name) => emoji[name] ?? whole);
}

export function safeUrl(url) {
  try {
    const parsed = new URL(url, location.href);
    return ["http:", "https:", "mailto:"].includes(parsed.protocol) ? parsed.href : null;
  } catch {
    return null;
  }
}

export function link(url, ...children) {
  const href = safeUrl(url);
  if (!href) return el("span", {}, ...children);
  return el("a", { href, target: "_blank", rel: "noopener noreferrer" }, ...children);
}

export function clock(seconds) {
  return new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" }).format(new Date(seconds * 1000));
}

const HUES = [12, 35, 95, 150, 190, 215, 255, 290, 330];

export function avatar(name, isBot) {
  const node = el("span", { class: isBot ? "avatar bot" : "avatar", "aria-hidden": "true" }, isBot ? (name === "Slackbot" ? "🤖" : "🚢") : [...name][0].toUpperCase());
  const sum = [...name].reduce((total, letter) => total + letter.codePointAt(0), 0);
  node.style.setProperty("--hue", HUES[sum % HUES.length]);
  return node;
}

// Brings a list of children up to date, touching only those whose signature changed, and keeps focus and open parts.
export function reconcile(parent, items, draw) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  let place = parent.firstChild;
  for (const { key, signature, item } of items) {
    let node = old.get(key);
    old.delete(key);
    if (!node || node.signature !== signature) {
      const fresh = draw(item, node);
      fresh.dataset.key = key;
      fresh.signature = signature;
      if (node) {
        const focus = focusWithin(node);
        if (place === node) place = fresh;
        node.replaceWith(fresh);
        restoreFocus(fresh, focus);
      }
      if (!node) parent.insertBefore(fresh, place);
      node = fresh;
    }
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
  for (const node of old.values()) node.remove();
}

export function focusWithin(node) {
  const active = document.activeElement;
  if (!active || !node.contains(active)) return null;
  const focusable = [...node.querySelectorAll("button, a, input, select, textarea, summary")];
  return { name: active.dataset.focus ?? null, index: focusable.indexOf(active) };
}

export function restoreFocus(node, focus) {
  if (!focus) return;
  const named = focus.name && [...node.querySelectorAll("[data-focus]")].find((one) => one.dataset.focus === focus.name);
  const focusable = [...node.querySelectorAll("button, a, input, select, textarea, summary")];
  const target = named || focusable[Math.min(focus.index, focusable.length - 1)];
  if (target) target.focus({ preventScroll: true });
  else {
    node.tabIndex = -1;
    node.focus({ preventScroll: true });
  }
}
