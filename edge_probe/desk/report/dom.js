// Elements are made here and nowhere else: text stays text, whatever a label says.

const byId = (id) => document.getElementById(id);

function build(element, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "selected") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...there(children));
  return element;
}

const there = (children) => children.flat(Infinity).filter((child) => child !== null && child !== false);

const fill = (element, ...children) => element.replaceChildren(...there(children));

const el = (tag, properties, ...children) =>
  build(document.createElement(tag), properties, children);

const svg = (tag, properties, ...children) =>
  build(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);

function button(text, onclick, properties) {
  return el("button", { type: "button", onclick, ...properties }, text);
}

// A select of [value, text] pairs with its label.
function choice(id, label, options, chosen, onchoice) {
  const select = el(
    "select",
    { id, onchange: (event) => onchoice(Number(event.target.value)) },
    options.map(([value, text]) => el("option", { value: String(value) }, text)),
  );
  select.value = String(chosen);
  return el("div", { class: "field" }, el("label", { for: id }, label), select);
}

// Rows of cells; numbers are to the right.
function table(caption, heads, rows, properties) {
  const isNumber = heads.map((_, n) => rows.some((row) => typeof row[n] === "number"));
  const kind = (n, value) => ({
    class: isNumber[n] ? "number" : typeof value === "string" && value.length > 40 ? "long" : null,
  });
  const cell = (value, n) => {
    const text = typeof value === "number" ? count(value) : value;
    return n === 0 ? el("th", { scope: "row" }, text) : el("td", kind(n, value), text);
  };
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el(
      "table",
      properties,
      el("caption", null, caption),
      el("thead", null, el("tr", null, heads.map((head, n) => el("th", { scope: "col", ...kind(n) }, head)))),
      el("tbody", null, rows.map((row) => el("tr", null, row.map(cell)))),
    ),
  );
}

// A table that is only made when somebody opens it.
function folded(summary, make) {
  const details = el("details", null, el("summary", null, summary));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(make());
  });
  return details;
}

// Stays until it is no longer so.
function warn(text) {
  byId("warning").textContent = text;
}

function say(text) {
  byId("status").textContent = text;
}

const count = (value) => value.toLocaleString("en", { maximumFractionDigits: 2 });

function plural(n, one, many) {
  return `${count(n)} ${n === 1 ? one : many || `${one}s`}`;
}
