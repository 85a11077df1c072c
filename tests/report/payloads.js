({
  // Each document in a frame of its own, named after it; settled when all are loaded.
  frames: (documents) => Promise.all(
    Object.entries(documents).map(([name, html]) => {
      const frame = document.createElement("iframe");
      frame.name = `of ${name}`; // a plain "body" would be document.body
      frame.srcdoc = `<!doctype html><body>${html}\n\n<i id="after"></i>`;
      document.body.append(frame);
      return new Promise((done) => frame.addEventListener("load", done));
    }),
  ),

  // Points at, focuses and presses everything, in frames too; the names of the frames whose end is
  // swallowed.
  use: () => {
    const cut = [];
    for (const frame of document.querySelectorAll("iframe")) {
      if (frame.contentDocument && !frame.contentDocument.querySelector("#after")) cut.push(frame.name);
    }
    const documents = [...document.querySelectorAll("iframe")].map((frame) => frame.contentDocument);
    for (const each of [document, ...documents]) {
      for (const element of each?.querySelectorAll("*") ?? []) {
        if (element.matches("a, button, input, select, summary, textarea, [tabindex]")) element.focus();
        for (const kind of ["mouseover", "pointerover"]) element.dispatchEvent(new Event(kind));
        if (element.matches("a:not([href^='./']), [onclick], button[popovertarget], form button:not([type=reset])")) {
          element.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
        }
      }
    }
    return cut;
  },

  // Elements and attributes that none of the pages has a use for.
  odd: () => {
    const known = [
      "html head meta title link style script body main header section nav article footer form label input",
      "select option button progress noscript h1 h2 h3 h4 p div span a b strong small em code kbd pre q ins del",
      "mark br ol ul li dl dt dd table thead tbody tr th td caption figure figcaption details summary fieldset",
      "legend svg defs g line rect circle path polyline text use",
    ].join(" ").split(" ");
    const leads = "href src srcset action formaction xlink:href data srcdoc ping poster background".split(" ");
    const address = /^(#.*|data:,|label\.(css|js)|\.\/[\w.-]+\/report\.html)$/s;
    const found = new Set();
    for (const { localName, attributes } of document.querySelectorAll("*")) {
      if (!known.includes(localName)) found.add(`<${localName}>`);
      for (const { name, value } of attributes) {
        if (/^on|^style$/.test(name)) found.add(`${localName} ${name}=${value}`);
        if (leads.includes(name) && !address.test(value)) found.add(`${localName} ${name}=${value}`);
      }
    }
    return [...found];
  },

  // Opens every one of the n items of a report; what each one then says, by its id.
  openAll: async (n) => {
    const list = document.getElementById("list"), more = document.getElementById("more");
    while (list.childElementCount < n) {
      if (!more.hidden) more.click();
      await new Promise((done) => setTimeout(done));
    }
    const found = {}, cases = [...list.querySelectorAll(".case")];
    for (const item of cases) item.open = true;
    for (const item of cases) {
      while (!item.querySelector(".body a.link")) await new Promise((done) => setTimeout(done));
      for (const inner of item.querySelectorAll("details")) inner.open = true;
      for (const mode of item.querySelectorAll(".choice button")) mode.click();
      found[item.querySelector("a.link").textContent] = item.textContent;
    }
    return found;
  },

  // Takes every value of every filter of a report in turn; those that find no item, by filter.
  filterAll: async () => {
    const form = document.getElementById("filters"), count = document.getElementById("count");
    const empty = {};
    for (const select of form.querySelectorAll("select:is([name=slice], [name^='tag.'])")) {
      for (const option of [...select.options].slice(1)) {
        select.value = option.value;
        count.textContent = "";
        select.dispatchEvent(new Event("input", { bubbles: true }));
        const fits = () => /^1 of /.test(count.textContent);
        for (let tries = 0; tries < 20 && !fits(); tries++) await new Promise((done) => setTimeout(done));
        if (!fits()) empty[select.name] = [...(empty[select.name] ?? []), option.value];
      }
      select.value = "";
    }
    form.reset();
    await new Promise((done) => setTimeout(done, 50));
    return empty;
  },

  // The places of the documents whose elements, or the names of their attributes, are not those of
  // the first.
  changed: (documents) => {
    const shapes = documents.map((html) => {
      const read = new DOMParser().parseFromString(html, "text/html");
      return [...read.querySelectorAll("*")].map((each) => [each.localName, ...each.getAttributeNames()].join(" ")).join();
    });
    return shapes.flatMap((shape, place) => (shape === shapes[0] ? [] : [place]));
  },
})
