// One item with all that was said of it.

let against = "reference";

function long(place) {
  const shown = make("div", "text", texts[place]);
  shown.dir = "auto";
  if (data.cut[place]) shown.append(cutNote(place));
  return shown;
}
const cutNote = (place) => make("span", "cut", ` … ${counted(data.cut[place], "more character")}, see the run's files`);

function body(item) {
  const link = make("a", "link", item.id);
  link.href = `#${new URLSearchParams({ item: item.id })}`;
  link.title = "Copy the link to this item";
  const tags = Object.entries(item.tags ?? {}).map(([key, value]) => `${key} ${value}`);
  if (item.cluster) tags.push(`cluster ${item.cluster}`);
  const head = make("p", "about", link, make("span", "muted", ` ${tags.join(" · ")}`));
  const asked = make("div", "");
  for (const [who, place] of item.asked ?? []) asked.append(make("h4", "", titled(who)), long(place));
  for (const place of item.then ?? []) asked.append(make("h4", "", "Then user"), long(place));
  const wanted = make("div", "");
  (item.wanted ?? []).forEach((place, n) => wanted.append(make("h4", "", n ? "Also right" : "Reference"), long(place)));
  if (!item.wanted) wanted.append(make("h4", "", "Reference"), make("p", "cut", "none"));
  if (item.rubric != null) wanted.append(make("h4", "", "Rubric"), long(item.rubric));
  return make("div", "body", head, make("div", "asked", asked, wanted), answers(item));
}
const titled = (word) => word.charAt(0).toUpperCase() + word.slice(1);

// All answers, drawn anew when other marks or another sample are asked for.
function answers(item) {
  const held = make("div", ""), shown = item.sides.map((side) => side.shown ?? 0);
  const redraw = () => {
    const place = [...held.querySelectorAll("button")].indexOf(document.activeElement);
    const isOpen = held.querySelector(".others")?.open;
    held.replaceChildren(...drawnAnswers(item, shown, redraw));
    if (isOpen) held.querySelector(".others").open = true;
    if (place >= 0) held.querySelectorAll("button")[place].focus();
    light();
  };
  redraw();
  return held;
}

function drawnAnswers(item, shown, redraw) {
  const modes = { reference: "Against the reference", other: "Between the sides", none: "Nothing" };
  if (!item.wanted) delete modes.reference;
  const mode = Object.hasOwn(modes, against) ? against : "other";
  const hold = (name) => { against = name; redraw(); };
  const buttons = Object.entries(modes).map(([name, words]) => pressed(words, name === mode, () => hold(name)));
  const cards = data.sides.map((_, place) => answer(item, place, shown, mode, redraw));
  const parts = [choice("Mark", buttons), make("div", "answers", ...cards.slice(0, 2))];
  if (cards.length > 2) {
    const names = data.sides.slice(2).map(([, name]) => name).join(", ");
    parts.push(make("details", "others", make("summary", "", names), make("div", "answers", ...cards.slice(2))));
  }
  return parts;
}

function choice(name, buttons) {
  const group = make("p", "choice", make("span", "muted", name), " ", ...buttons);
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", name);
  return group;
}

function pressed(words, is, then) {
  const button = make("button", "", words);
  button.type = "button";
  button.setAttribute("aria-pressed", is);
  button.addEventListener("click", then);
  return button;
}

function answer(item, place, shown, mode, redraw) {
  const [key, name] = data.sides[place], side = item.sides[place], sample = side.samples?.[shown[place]];
  const score = make("span", "score", side.score == null ? "no score" : number(side.score));
  if (side.score != null) score.append(make("small", "", " of 5"));
  const head = make("h4", "", mark(key), name, " ", score);
  const card = make("div", `answer${key === "candidate" || key === "baseline" ? ` ${key}` : ""}`, head);
  if (!sample) {
    card.append(make("p", "cut", "no answer was recorded"));
    return card;
  }
  if (sample.state !== "ok") head.append(" ", make("span", "chip", sample.state));
  if (side.samples.length > 1) {
    const choose = (n) => { shown[place] = n; redraw(); };
    const words = (each, n) => `${n + 1}: ${scored(each.score)}`;
    card.append(choice("Sample", side.samples.map((each, n) => pressed(words(each, n), n === shown[place], () => choose(n)))));
  }
  (sample.earlier ?? []).forEach((text, n) => card.append(make("p", "turn muted", `Answer to turn ${n + 1}`), long(text)));
  if (sample.earlier) card.append(make("p", "turn muted", "Last answer"));
  card.append(...marked(sample.text, rival(item, key, shown, mode), mode), ...why(side, sample));
  return card;
}

// The text that an answer is held against, by place.
function rival(item, key, shown, mode) {
  if (mode === "reference") return item.wanted[0];
  const other = key === "baseline" ? "candidate" : "baseline";
  return mode === "other" ? answerOf(item, other).samples?.[shown[sideAt[other]]]?.text : undefined;
}

function marked(place, held, mode) {
  const text = texts[place], box = make("div", "text");
  const parts = held === undefined || !text ? [["same", text]] : compared(texts[held], text);
  for (const [kind, part] of parts ?? [["same", text]]) {
    // Between the sides the other's words stand in the other's answer.
    if (kind === "before" && mode === "other") continue;
    box.append(kind === "same" ? part : make(kind === "after" ? "ins" : "del", "", part));
  }
  box.dir = "auto";
  if (!text) box.append(make("span", "cut", "empty answer"));
  if (data.cut[place]) box.append(cutNote(place));
  return parts ? [box] : [box, make("p", "cut", "too long or too different for marks")];
}

function why(side, sample) {
  const by = side.score == null && sample.score == null ? "reason" : (sample.by ?? "judge");
  const reason = sample.reason == null ? "no reason given" : texts[sample.reason];
  const found = [make("p", "reason", make("span", "muted", titled(by)), " ", reason)];
  if (sample.checks) found.push(make("ul", "checks", ...sample.checks.map(check)));
  if (sample.opinions) {
    const said = make("summary", "", counted(sample.opinions.length, "opinion"));
    found.push(make("details", "opinions", said, make("ul", "checks", ...sample.opinions.map(opinion))));
  }
  const cost = [`${counted(sample.tokens[0], "token")} in, ${sample.tokens[1].toLocaleString("en")} out`];
  if (sample.seconds != null) cost.push(`${sample.seconds.toFixed(2)} s`);
  if (sample.expected != null) cost.push(`expected score ${sample.expected.toFixed(2)}`);
  found.push(make("p", "cost muted", cost.join(" · ")));
  return found;
}

const check = ([kind, state, note]) => make("li", state, make("span", "strong", `${kind} ${state}`), " ", texts[note]);

function opinion(each) {
  const expected = each.expected == null ? "" : ` (expected ${each.expected.toFixed(2)})`;
  const again = each.repeat ? ", again" : "";
  return make("li", "", make("span", "strong", scored(each.score)), `${expected} ${each.judge}${again}: `, texts[each.reason]);
}
