// What is wrong with the page as it stands now, one sentence each. Rules after WCAG 2.2: 1.1.1, 1.3.1,
// 1.4.3, 2.4.1, 2.4.2, 2.4.3, 2.4.6, 3.1.1, 4.1.2.
() => {
  const found = [];
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const words = (element) => (element.textContent || "").trim();
  const named = (element) =>
    `<${element.localName}${element.id ? ` id=${element.id}` : ""} class="${element.getAttribute("class") || ""}"> "${words(element).slice(0, 40)}"`;
  const isShown = (element) =>
    element.checkVisibility({ opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: true }) &&
    element.getClientRects().length > 0 && !element.closest("[aria-hidden=true]");
  const shown = (selector) => all(selector).filter(isShown);

  if (!document.documentElement.lang) found.push("the page has no language");
  if (!document.title) found.push("the page has no title");
  if (shown("main").length !== 1) found.push(`${shown("main").length} main landmarks`);
  if (shown("h1").length !== 1) found.push(`${shown("h1").length} headings of the first level`);

  let level = 0;
  for (const heading of shown("h1, h2, h3, h4, h5, h6")) {
    const own = Number(heading.localName[1]);
    if (own > level + 1) found.push(`heading skips a level: ${named(heading)}`);
    if (!words(heading)) found.push(`empty heading: ${named(heading)}`);
    level = own;
  }

  const ids = all("[id]").map((element) => element.id);
  for (const id of new Set(ids.filter((id, place) => ids.indexOf(id) !== place))) {
    found.push(`two elements have the id ${id}`);
  }
  for (const attribute of ["aria-labelledby", "aria-describedby", "aria-controls", "for"]) {
    for (const element of all(`[${attribute}]`)) {
      for (const id of element.getAttribute(attribute).split(/\s+/)) {
        if (!document.getElementById(id)) found.push(`${attribute} of nothing: ${id}`);
      }
    }
  }
  const nameOf = (element) => {
    const by = (element.getAttribute("aria-labelledby") || "").split(/\s+/).filter(Boolean);
    const labels = [...(element.labels || [])];
    return [
      element.getAttribute("aria-label"),
      ...by.map((id) => document.getElementById(id)).concat(labels).map((each) => each && words(each)),
      /^(a|button|summary)$/.test(element.localName) && words(element),
      element.localName === "svg" && words(element.querySelector("title") || document.createElement("p")),
      element.getAttribute("alt"),
    ].find((name) => name && name.trim());
  };
  const controls = "a[href], button, input, select, textarea, summary, [tabindex], progress, meter";
  for (const element of shown(controls)) {
    if (!nameOf(element) && element.getAttribute("role") !== "none") found.push(`no name: ${named(element)}`);
    if (Number(element.getAttribute("tabindex")) > 0) found.push(`positive tabindex: ${named(element)}`);
  }
  for (const element of shown("img, [role=img], [role=group], nav, section")) {
    if (!nameOf(element)) found.push(`no name: ${named(element)}`);
  }
  for (const element of shown("svg:not([role])")) {
    if (!element.parentElement.closest("svg")) found.push(`picture without a role: ${named(element)}`);
  }
  for (const element of shown("table")) {
    if (!element.querySelector("th[scope=col]")) found.push(`table without headings: ${named(element)}`);
  }

  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const cache = new Map();
  const rgba = (color) => {
    if (!cache.has(color)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      cache.set(color, [r, g, b, a / 255]);
    }
    return cache.get(color);
  };
  const over = (top, under) => [0, 1, 2].map((n) => top[n] * top[3] + under[n] * (1 - top[3])).concat(1);
  const behind = (element) => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) {
      layers.push(rgba(getComputedStyle(each).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), rgba("Canvas"));
  };
  const luminance = (color) => {
    const [r, g, b] = color.map((n) => (n / 255 <= 0.04045 ? n / 255 / 12.92 : ((n / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const pale = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n = 0; walker.nextNode() && n < 20000; n++) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !isShown(element) || /^(script|style|title|noscript)$/.test(element.localName)) continue;
    const style = getComputedStyle(element);
    const paper = behind(element);
    const ink = over(rgba(element.closest("svg") ? style.fill : style.color), paper);
    const [light, dark] = [luminance(ink), luminance(paper)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (isLarge ? 3 : 4.5)) {
      const key = `${element.localName}.${element.getAttribute("class")}`;
      if (!pale.has(key)) pale.set(key, `contrast ${ratio.toFixed(2)}: ${named(element)}`);
    }
  }
  return found.concat([...pale.values()]);
}
