// Which items are asked for, and in which order. Knows the controls, not how an item looks.

// Milliseconds after which a search lets the page breathe.
const SLICE_MS = 40;
const MOST_LIT = 2000;

const lowered = new Array(texts.length);
const known = new Map();
const ABSENT = 1, PRESENT = 2;

function placesOf(item) {
  if (item.places) return item.places;
  const found = (item.asked ?? []).map(([, place]) => place);
  found.push(...(item.then ?? []), ...(item.wanted ?? []));
  if (item.rubric != null) found.push(item.rubric);
  for (const side of item.sides) {
    for (const each of side.samples ?? []) {
      found.push(each.text, ...(each.earlier ?? []), ...(each.checks ?? []).map(([, , note]) => note));
      found.push(...(each.opinions ?? []).map((opinion) => opinion.reason));
      if (each.reason != null) found.push(each.reason);
    }
  }
  item.labels = [item.id, item.slice ?? "", ...Object.values(item.tags ?? {})].join("\n").toLowerCase();
  return (item.places = [...new Set(found)]);
}

// "several words" in quotes stay together.
function wordsIn(query) {
  const words = query.toLowerCase().match(/"[^"]+"|[^\s"]+/g) ?? [];
  return words.map((word) => wordFor(word.replaceAll('"', "")));
}

// A word remembers the texts it was looked for in, and a longer one that contains it asks it first:
// each further letter then looks only where there was something.
function wordFor(text) {
  if (!known.has(text)) {
    const within = [...known.values()].filter((each) => text.includes(each.text));
    within.sort((a, b) => b.text.length - a.text.length);
    if (known.size > 40) known.delete(known.keys().next().value);
    known.set(text, { text, seen: new Uint8Array(texts.length), within: within[0] });
  }
  return known.get(text);
}

function isIn(word, place) {
  if (!word.seen[place]) {
    const isHopeless = word.within?.seen[place] === ABSENT;
    const found = !isHopeless && (lowered[place] ??= texts[place].toLowerCase()).includes(word.text);
    word.seen[place] = found ? PRESENT : ABSENT;
  }
  return word.seen[place] === PRESENT;
}

// What takes longest in a first search, made before the first letter is typed.
function warm(at = 0) {
  const until = performance.now() + SLICE_MS;
  for (; at < items.length && performance.now() < until; at++) {
    for (const place of placesOf(items[at])) lowered[place] ??= texts[place].toLowerCase();
  }
  if (at < items.length) setTimeout(warm, 0, at);
}

function mentions(item, words) {
  const places = placesOf(item);
  return words.every((word) => places.some((place) => isIn(word, place)) || item.labels.includes(word.text));
}

// What the gate counted; worst case where a score is missing, so that those come after the measured.
const damage = (item) => item.difference ?? Infinity;
const isPartial = (item) => (item.flips.includes("unscored") ? 1 : 0);
const written = (item, side) => (answerOf(item, side).samples ?? []).reduce((sum, each) => sum + texts[each.text].length, 0);
const growth = (item) => (item.growth ??= written(item, "candidate") - written(item, "baseline"));
const before = (item) => scoreOf(item, "baseline") ?? 0;
const ORDERS = {
  damage: (a, b) => damage(a) - damage(b) || isPartial(a) - isPartial(b) || before(b) - before(a),
  gain: (a, b) => (b.difference ?? -Infinity) - (a.difference ?? -Infinity),
  longer: (a, b) => growth(b) - growth(a),
  shorter: (a, b) => growth(a) - growth(b),
  order: () => 0,
};
const sorted = new Map();
function inOrder(name) {
  if (!sorted.has(name)) sorted.set(name, [...items].sort(ORDERS[name]));
  return sorted.get(name);
}

// What is asked for beside the controls: flips, and the item of a link.
const view = { flip: new Set(), item: "" };
const control = (name) => form.elements.namedItem(name);
const field = (name) => control(name)?.value ?? "";
const bucket = (score) => (score === null ? "none" : String(Math.round(score)));

// What the controls ask of an item, read once.
function criteria() {
  const asked = [];
  for (const side of ["candidate", "baseline"]) {
    const wanted = field(side);
    if (wanted) asked.push((item) => bucket(scoreOf(item, side)) === wanted);
  }
  const slice = field("slice");
  if (slice) asked.push((item) => (item.slice ?? "no slice") === slice);
  for (const tag of tags) {
    const wanted = field(`tag.${tag}`);
    if (wanted) asked.push((item) => tagOf(item, tag) === wanted);
  }
  const words = wordsIn(field("q"));
  if (words.length) asked.push((item) => mentions(item, words));
  return asked;
}

// Calls `then` with the items that are asked for, in order, and with how many went each way; nothing
// if something else is asked for meanwhile.
let run = 0;
function find(then) {
  const mine = ++run, asked = criteria(), order = inOrder(field("sort"));
  const found = [], counts = {};
  let at = 0;
  const step = () => {
    if (mine !== run) return;
    const until = performance.now() + SLICE_MS;
    for (; at < order.length && performance.now() < until; at++) {
      const item = order[at];
      if (!asked.every((fits) => fits(item))) continue;
      for (const flip of item.flips) counts[flip] = (counts[flip] ?? 0) + 1;
      if (!view.flip.size || item.flips.some((flip) => view.flip.has(flip))) found.push(item);
    }
    if (at < order.length) setTimeout(step);
    else then(found, counts);
  };
  step();
}

// What was looked for, marked without touching the page's elements.
function light() {
  if (!globalThis.Highlight) return;
  const words = wordsIn(field("q")), ranges = [];
  if (words.length) {
    const walker = document.createTreeWalker(list, NodeFilter.SHOW_TEXT);
    while (ranges.length < MOST_LIT && walker.nextNode()) ranges.push(...rangesIn(walker.currentNode, words));
  }
  CSS.highlights.set("found", new Highlight(...ranges));
}

function* rangesIn(node, words) {
  const text = node.data.toLowerCase();
  if (text.length !== node.data.length) return;
  for (const { text: word } of words) {
    for (let at = text.indexOf(word), end; at >= 0; at = text.indexOf(word, end)) {
      end = at + word.length;
      yield new StaticRange({ startContainer: node, startOffset: at, endContainer: node, endOffset: end });
    }
  }
}
