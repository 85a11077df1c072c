// The list of items: drawn a screen at a time, opened, walked by keys; the view lives in the fragment.

// Rows at first, so that the rest of the page is not far; then as many again, up to MOST_MORE.
const FIRST = 25;
const MOST_MORE = 100;
// Rows a frame: what a control did shows before a slow machine has drawn them all.
const AT_ONCE = 10;
// Tags with a choice of their own, and values of one.
const MOST_TAGS = 3;
const MOST_VALUES = 24;

let listed = [], due = 0;
const itemOf = new WeakMap();

let said = "";
function say(words) {
  count.textContent = said = words;
}

function show(found, counts) {
  const rest = found.length === items.length ? "" : ` of ${items.length.toLocaleString("en")}`;
  const noun = items.length === 1 ? "item" : "items";
  say(found.length ? `${found.length.toLocaleString("en")}${rest} ${noun}` : "No item is like that.");
  for (const chip of one("flips").querySelectorAll("button")) {
    chip.setAttribute("aria-pressed", view.flip.has(chip.value));
    chip.lastChild.textContent = (counts[chip.value] ?? 0).toLocaleString("en");
  }
  begin(found);
}

function begin(found) {
  listed = found;
  due = 0;
  list.replaceChildren();
  page();
}

const left = () => listed.length - due;
const nextPage = () => Math.min(Math.max(FIRST, due), MOST_MORE, left());

function page() {
  due += nextPage();
  more.hidden = left() === 0;
  more.textContent = `Show ${nextPage()} more of ${left().toLocaleString("en")}`;
  draw();
}

function draw() {
  const start = list.childElementCount, mine = listed;
  list.append(...listed.slice(start, Math.min(due, start + AT_ONCE)).map(row));
  light();
  if (list.childElementCount < due) afterFrame(() => { if (mine === listed) draw(); });
}
const afterFrame = (then) => requestAnimationFrame(() => setTimeout(then));

function row(item) {
  const [flip] = item.flips, isMeasured = item.difference != null && !isPartial(item);
  const moved = make("span", `moved ${flip}`, isMeasured ? points(item.difference) : "—");
  const scores = ["baseline", "candidate"].map((side) => scored(scoreOf(item, side))).join(" → ");
  const head = make("h3", "", moved, " ", make("span", "scores", scores), " ", make("span", "flip", flips[flip]), " ");
  if (data.slice_by) head.append(make("span", "slice", item.slice ?? "no slice"), " ");
  const peek = make("span", "peek", peekOf(item));
  peek.dir = "auto";
  head.append(peek);
  const details = make("details", "case", make("summary", "", head));
  itemOf.set(details, item);
  return make("li", "", details);
}

// The words that were looked for in their surroundings, or else how the last question begins.
function peekOf(item) {
  const word = wordsIn(field("q"))[0];
  const hit = word && placesOf(item).find((place) => isIn(word, place));
  if (hit !== undefined) {
    const at = lowered[hit].indexOf(word.text), start = texts[hit].lastIndexOf(" ", at - 12) + 1;
    return (start ? "… " : "") + texts[hit].slice(start, at + 200);
  }
  return texts[item.asked?.at(-1)?.[1]]?.slice(0, 240) ?? "";
}

// What an item holds is built when it is first opened.
function unfold(details) {
  if (!details.querySelector(".body")) details.append(body(itemOf.get(details)));
  details.open = true;
}

const summaries = () => [...list.querySelectorAll(".case > summary")];
const current = () => document.activeElement?.closest?.(".case")?.querySelector("summary");

function move(by) {
  if (by > 0 && current()?.closest("li") === list.lastElementChild) list.childElementCount < due ? draw() : page();
  const all = summaries(), at = all.indexOf(current());
  all[at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + by))]?.focus();
}

function reset() {
  form.reset();
  view.flip.clear();
  view.item = "";
}

function write(isStep) {
  const params = new URLSearchParams();
  for (const element of form.elements) {
    const isDefault = !element.value || (element === control("sort") && element.value === "damage");
    if (element.name && !isDefault) params.set(element.name, element.value);
  }
  if (view.flip.size) params.set("flip", [...view.flip].join(","));
  if (view.item) params.set("item", view.item);
  const url = `${location.href.split("#")[0]}#${params.size ? params : "items"}`;
  if (url !== location.href) history[isStep ? "pushState" : "replaceState"](null, "", url);
}

// The fragment of another part of the page has no "=" and is left to the browser.
function read(isFirst) {
  const fragment = location.hash.slice(1);
  if (!isFirst && !fragment.includes("=") && fragment !== "items" && fragment !== "") return;
  const params = new URLSearchParams(fragment.includes("=") ? fragment : "");
  reset();
  for (const [name, value] of params) if (control(name)) control(name).value = value;
  // A choice that there is not is none.
  for (const choices of form.querySelectorAll("select")) {
    if (choices.selectedIndex < 0) choices.selectedIndex = 0;
  }
  for (const flip of (params.get("flip") ?? "").split(",")) {
    if (Object.hasOwn(flips, flip)) view.flip.add(flip);
  }
  view.item = params.get("item") ?? "";
  find((found, counts) => {
    if (view.item) {
      go(found, counts);
      return;
    }
    show(found, counts);
    if (params.size) one("items").scrollIntoView();
    else if (isFirst && list.firstChild) unfold(list.querySelector("details"));
  });
}

// To the item that the fragment names: past filters that hide it, and to the top if it is far down.
function go(found, counts) {
  const item = items.find((each) => each.id === view.item);
  if (!item) {
    show(found, counts);
    say("The link's item is not in this round.");
    one("items").scrollIntoView();
    return;
  }
  const at = found.indexOf(item);
  if (at < 0) {
    reset();
    view.item = item.id;
    find(go);
    return;
  }
  show(at < AT_ONCE ? found : [item, ...found.filter((each) => each !== item)], counts);
  const details = [...list.querySelectorAll(".case")].find((each) => itemOf.get(each) === item);
  unfold(details);
  details.firstChild.focus({ preventScroll: true });
  details.scrollIntoView();
}

function shortcut(event) {
  const { key, target } = event, isHere = target === document.body || one("explorer").contains(target);
  if (!isHere || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
  const inList = list.contains(target), inSearch = target === control("q");
  if (key === "Escape") { reset(); changed(true); }
  else if (key === "ArrowDown" && (inList || inSearch)) move(1);
  else if (key === "ArrowUp" && inList) move(-1);
  else if (target.closest("input, select")) return;
  else if (key === "j") move(1);
  else if (key === "k") move(-1);
  else if (key === "o" && current()) current().click();
  else if (key === "/") control("q").select();
  else return;
  event.preventDefault();
}

// Browsers refuse a fragment that changes with every letter.
let writing = 0;
function changed(isStep) {
  view.item = "";
  clearTimeout(writing);
  if (isStep) write(true);
  else writing = setTimeout(write, 200, false);
  find(show);
}

function options(choices, values) {
  for (const [value, n] of values) {
    const option = make("option", "", `${value} (${n.toLocaleString("en")})`);
    option.value = value;
    choices.append(option);
  }
}

function valuesOf(get) {
  const counts = new Map();
  for (const item of items) {
    const value = get(item);
    if (value) counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
}

const names = new Set(items.flatMap((item) => Object.keys(item.tags ?? {})));
const tags = [...names].filter((tag) => {
  const values = tag === data.slice_by ? [] : valuesOf((item) => tagOf(item, tag));
  return values.length > 1 && values.length <= MOST_VALUES;
}).slice(0, MOST_TAGS);

options(control("slice"), valuesOf((item) => item.slice ?? "no slice"));
if (!data.slice_by) control("slice").closest("label").hidden = true;
for (const tag of tags) {
  const any = make("option", "", "any"), choices = make("select", "", any);
  any.value = "";
  choices.name = `tag.${tag}`;
  options(choices, valuesOf((item) => tagOf(item, tag)));
  control("sort").closest("label").before(make("label", "", make("span", "", tag), choices));
}
for (const entry of one("flips").children) {
  const chip = pressed("", false, () => {
    if (!view.flip.delete(chip.value)) view.flip.add(chip.value);
    changed(true);
  });
  chip.value = entry.dataset.flip;
  chip.replaceChildren(...entry.childNodes);
  entry.append(chip);
}

form.addEventListener("submit", (event) => event.preventDefault());
one("clear").addEventListener("click", () => { reset(); changed(true); });
form.addEventListener("input", (event) => changed(event.target !== control("q")));
control("q").addEventListener("focus", () => afterFrame(warm), { once: true });
more.addEventListener("click", () => {
  const next = list.childElementCount;
  page();
  list.children[next]?.querySelector("summary").focus();
});
list.addEventListener("toggle", (event) => {
  if (event.target.matches(".case") && event.target.open) unfold(event.target);
}, true);
list.addEventListener("click", (event) => {
  const link = event.target.closest("a.link");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  navigator.clipboard?.writeText(link.href).then(() => {
    count.textContent = "Link copied.";
    setTimeout(() => { count.textContent = said; }, 2000);
  }, () => {});
  history.pushState(null, "", link.href);
});
document.addEventListener("keydown", shortcut);
addEventListener("hashchange", () => read(false));
// A link to the view that is there already changes no fragment, and still leads to it.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (link?.hash.includes("=") && link.href === location.href && !list.contains(link)) read(false);
});

one("bare").remove();
form.hidden = one("keys").hidden = false;
read(true);
