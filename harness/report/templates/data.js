// What the page's script works on: the JSON in this file, and the few ways in which it becomes part
// of the page, always as text and never as markup.

const one = (id) => document.getElementById(id);
const data = JSON.parse(one("data").textContent);
const { items, texts, flips } = data;
const form = one("filters"), list = one("list"), more = one("more"), count = one("count");
const sideAt = Object.fromEntries(data.sides.map(([key], place) => [key, place]));
const answerOf = (item, side) => item.sides[sideAt[side]] ?? {};
const tagOf = (item, tag) => (item.tags && Object.hasOwn(item.tags, tag) ? item.tags[tag] : null);
const scoreOf = (item, side) => answerOf(item, side).score ?? null;

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

// The shape of a side, as in the plots.
function mark(side) {
  if (!["candidate", "baseline", "base"].includes(side)) return "";
  const use = drawn("use", { href: `#${side}`, x: 7, y: 6 });
  const svg = drawn("svg", { class: "mark", width: 14, height: 12, "aria-hidden": true });
  svg.append(use);
  return svg;
}

function drawn(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

const number = (n) => (Number.isInteger(n) ? String(n) : n.toFixed(2)).replace("-", "−");
const scored = (n) => (n == null ? "—" : number(n));
const counted = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
const points = (n) => (n >= 0.005 ? "+" : "") + (Math.abs(n) < 0.005 ? "0" : number(n));
