// Which words differ between two texts: the shortest edit script over tokens, as in Myers, "An O(ND)
// Difference Algorithm and Its Variations" (1986). Knows nothing of the page.

const MOST_TOKENS = 8000;
const MOST_EDITS = 800;
// Texts of fewer tokens are always compared, however different.
const ALWAYS_BELOW = 12;
// Share of words in common below which marks would hide the text.
const LEAST_ALIKE = 0.5;
// Spaces, also made visible; a letter of a script that has no spaces; a word; anything else alone.
const TOKEN = /[\s·⇥]+|[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}]|(?:(?![\p{sc=Han}\p{sc=Hira}\p{sc=Kana}])[\p{L}\p{M}\p{N}_])+|./gsu;
const SPACE = /^[\s·⇥]*$/;

// [[kind, text], …] with kind "same", "before" (only in the first) or "after" (only in the second);
// null where the two have too little in common, or are too long, for marks to help.
function compared(first, second) {
  if (first === second) return [["same", first]];
  const before = first.match(TOKEN) ?? [], after = second.match(TOKEN) ?? [];
  if (Math.max(before.length, after.length) > MOST_TOKENS) return null;
  const kinds = edits(before, after);
  if (kinds === null) return null;
  const isShort = Math.max(before.length, after.length) < ALWAYS_BELOW;
  return isShort || likeness(kinds, before, after) >= LEAST_ALIKE ? joined(kinds, before, after) : null;
}

// One kind a token, in order; null beyond MOST_EDITS.
function edits(before, after) {
  let start = 0, ends = 0;
  const shorter = Math.min(before.length, after.length);
  while (start < shorter && before[start] === after[start]) start++;
  while (ends < shorter - start && before.at(-1 - ends) === after.at(-1 - ends)) ends++;
  const inner = shortest(before.slice(start, before.length - ends), after.slice(start, after.length - ends));
  return inner && [...Array(start).fill("same"), ...inner, ...Array(ends).fill("same")];
}

function shortest(before, after) {
  const n = before.length, m = after.length, most = Math.min(n + m, MOST_EDITS);
  const furthest = new Int32Array(2 * most + 3), zero = most + 1, steps = [];
  for (let d = 0; d <= most; d++) {
    for (let k = -d; k <= d; k += 2) {
      const isDown = k === -d || (k !== d && furthest[zero + k - 1] < furthest[zero + k + 1]);
      let x = isDown ? furthest[zero + k + 1] : furthest[zero + k - 1] + 1;
      while (x < n && x - k < m && before[x] === after[x - k]) x++;
      furthest[zero + k] = x;
      if (x >= n && x - k >= m) return walked(steps, n, m);
    }
    steps.push(furthest.slice(zero - d, zero + d + 1));
  }
  return null;
}

// Back from the end: steps[d] has the furthest x of each diagonal -d … d after d edits.
function walked(steps, x, y) {
  const kinds = [];
  for (let d = steps.length; d > 0; d--) {
    const at = (k) => steps[d - 1][k + d - 1] ?? -1;
    const k = x - y;
    const isDown = k === -d || (k !== d && at(k - 1) < at(k + 1));
    const from = isDown ? at(k + 1) : at(k - 1);
    const start = isDown ? from : from + 1;
    while (x > start) { kinds.push("same"); x--; y--; }
    kinds.push(isDown ? "after" : "before");
    if (isDown) y--; else x--;
  }
  while (x-- > 0) kinds.push("same");
  return kinds.reverse();
}

// 0–1 over the words alone: white space is always alike and says nothing.
function likeness(kinds, before, after) {
  const words = (tokens) => tokens.filter((token) => !SPACE.test(token)).length;
  let same = 0, at = 0;
  for (const kind of kinds) {
    if (kind === "same" && !SPACE.test(before[at])) same++;
    if (kind !== "after") at++;
  }
  return (2 * same) / Math.max(1, words(before) + words(after));
}

// Runs of one kind as one text; what changed on both sides of a mere space is one change.
function joined(kinds, before, after) {
  const parts = [];
  let i = 0, j = 0, left = "", right = "", gap = "";
  const flush = () => {
    if (left) parts.push(["before", left]);
    if (right) parts.push(["after", right]);
    if (gap) parts.push(["same", gap]);
    left = right = gap = "";
  };
  for (const kind of kinds) {
    if (kind === "same") {
      gap += before[i++];
      j++;
      continue;
    }
    if (gap && SPACE.test(gap) && left && right) { left += gap; right += gap; gap = ""; }
    else if (gap) flush();
    if (kind === "before") left += before[i++];
    else right += after[j++];
  }
  flush();
  return parts;
}
