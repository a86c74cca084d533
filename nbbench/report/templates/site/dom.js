"use strict";
// Elements, tables and figures in words. Text from the data becomes text nodes and nothing else.
nb.el = (tag, props = {}, ...kids) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...kids.flat(2).filter((kid) => kid != null && kid !== false && kid !== ""));
  return node;
};

// The address of a view: parts of a path, then named values (lists are repeated).
nb.link = (view, parts = [], values = {}) => {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values))
    for (const one of [value].flat()) if (one != null && one !== "" && one !== false) query.append(name, one);
  const path = [view, ...parts].map(encodeURIComponent).join("/");
  return `#/${path}${query.size ? `?${query}` : ""}`;
};

nb.a = (href, ...kids) => nb.el("a", { href }, ...kids);
nb.code = (text) => text && nb.el("code", {}, text);

const lengthOf = (cell) => (cell?.textContent ?? [cell].flat().map((one) => one?.textContent ?? one).join("")).length;

// A table of texts and elements, which `cells` makes of each row when it is shown; columns in `right` are figures.
// A column without a word is left out. On a narrow screen a row becomes a card (so its parts name their roles). Rows with a `data-row` answer to j and k.
nb.table = (head, rows, { right = [], codes = [], most = 200, label = "", cells = (row) => row } = {}) => {
  const body = nb.el("tbody", { role: "rowgroup" }), first = rows.slice(0, most).map(cells);
  const empty = head.map((_, i) => first.length > 0 && first.every((row) => row[i] == null || row[i] === ""));
  const add = (some) =>
    some.forEach((row) =>
      body.append(
        nb.el("tr", { role: "row", "data-row": row.some((cell) => cell instanceof HTMLAnchorElement) },
          row.map((cell, i) => {
            if (empty[i]) return null;
            const shown = codes.includes(i) && typeof cell === "string" ? nb.code(cell) : cell;
            return nb.el("td", { role: "cell", "data-head": head[i], class: right.includes(i) ? "num" : lengthOf(cell) < 16 ? "short" : null }, shown ?? "");
          }),
        ),
      ),
    );
  add(first);
  const heads = head.map((name, i) => !empty[i] && nb.el("th", { scope: "col", role: "columnheader", class: right.includes(i) ? "num" : null }, name));
  const table = nb.el("table", { role: "table", "aria-label": label || null }, nb.el("thead", { role: "rowgroup" }, nb.el("tr", { role: "row" }, heads)), body);
  const holder = nb.el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label || head.join(", ") }, table);
  if (rows.length <= most) return holder;
  const more = nb.el("button", { type: "button" }, `Show all ${rows.length}`);
  more.addEventListener("click", () => (add(rows.slice(most).map(cells)), more.remove()));
  return nb.el("div", {}, holder, more);
};

nb.details = (words, ...kids) => nb.el("details", {}, nb.el("summary", {}, words), ...kids);

nb.select = (label, value, options, change) => {
  const made = options.map(([key, words]) => nb.el("option", { value: key, selected: key === value }, words));
  return nb.el("label", {}, `${label} `, nb.el("select", { on: { change: (e) => change(e.target.value) } }, made));
};

// A command to type, with a button that copies it.
nb.command = (text) => {
  const button = nb.el("button", { type: "button", class: "copy", "aria-label": `Copy: ${text}` }, "Copy");
  button.addEventListener("click", async () => {
    let done = true;
    await (navigator.clipboard?.writeText(text) ?? Promise.reject()).catch(() => {
      getSelection().selectAllChildren(shown);
      done = document.execCommand("copy");
    });
    button.textContent = done ? "Copied" : "Selected";
  });
  const shown = nb.el("code", {}, text);
  return nb.el("p", { class: "command" }, shown, button);
};

nb.count = (n, one, many = `${one}s`) => `${n.toLocaleString("en-US")} ${n === 1 ? one : many}`;

const number = (x) => {
  if (x === 0) return "0";
  if (Math.abs(x) < 1e-4 || Math.abs(x) >= 1e15) return x.toExponential(3);
  const four = Number.isInteger(x) ? x : Number(x.toPrecision(4));
  return four.toLocaleString("en-US", { maximumSignificantDigits: 15 });
};
const scaled = (x, base, names) => {
  let place = 0;
  for (; Math.abs(x) >= base * 0.99995 && place < names.length - 1; place++) x /= base;
  return `${number(Number(x.toPrecision(4)))} ${names[place]}`;
};

// A figure with its unit.
nb.value = (x, unit) => {
  if (x == null) return "n/a";
  if (unit === "seconds" || unit === "s") return x === 0 ? "0 s" : Math.abs(x) >= 1 ? `${number(Number(x.toPrecision(4)))} s` : scaled(x * 1e9, 1000, ["ns", "µs", "ms", "s"]);
  if (/^(bytes|B)$|^B \(/.test(unit)) return scaled(x, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
  if (/^B (held|printed|moved|alive)$/.test(unit)) return `${scaled(x, 1024, ["B", "KiB", "MiB", "GiB", "TiB"])} ${unit.slice(2)}`;
  if (unit === "B/s") return scaled(x, 1000, ["B/s", "kB/s", "MB/s", "GB/s", "TB/s"]);
  return `${number(x)} ${unit}`.trim();
};

// After against before: a signed percentage, or a factor beyond 2.
nb.change = (before, after) => {
  if (before == null || after == null) return "n/a";
  if (before === after) return "0 %";
  if (before <= 0 || after <= 0) return after > before ? "from zero" : "to zero";
  const ratio = after / before;
  if (ratio >= 2) return `${number(Number(ratio.toPrecision(3)))}×`;
  if (ratio <= 0.5) return `÷${number(Number((1 / ratio).toPrecision(3)))}`;
  const percent = (ratio - 1) * 100;
  return `${percent > 0 ? "+" : "−"}${Math.abs(percent) < 10 ? Math.abs(percent).toFixed(2) : Math.abs(percent).toFixed(1)} %`;
};

// The same in the colour of what it means; `lower` says whether less is better (null: not known).
nb.toned = (before, after, lower) => {
  const words = nb.change(before, after);
  if (lower == null || before == null || after == null || Math.abs(after - before) <= 0.01 * Math.abs(before)) return words;
  const worse = after > before === lower;
  return nb.el("span", { class: worse ? "worse" : "better" }, worse ? "▲ " : "▼ ", words);
};

nb.commit = (place) => {
  const [hash, date, subject, position, tree] = nb.start.commits[place] ?? ["", "", "", 0, -1];
  return { place, hash, date, subject, position, tree, short: hash.slice(0, 8) };
};
nb.commitLink = (place) => {
  const one = nb.commit(place);
  return one.hash ? nb.el("a", { href: nb.link("commit", [one.hash]), title: one.subject }, nb.code(one.short)) : "";
};
// Where the project shows the commit on the web.
nb.onWeb = ({ hash }) => nb.start.commit_address && [" · ", nb.el("a", { href: nb.start.commit_address + hash, rel: "noreferrer" }, "its diff")];
nb.titleLink = (place) => {
  const { hash, short, subject } = nb.commit(place);
  const cut = subject.length > 48 ? `${subject.slice(0, 46)}…` : subject;
  return nb.el("a", { href: nb.link("commit", [hash]), title: subject }, cut || nb.code(short));
};
// The place of a commit by the beginning of its hash; -1 where there is none.
nb.placeOf = (hash) => (hash ? nb.start.commits.findIndex(([full]) => full.startsWith(hash) || hash.startsWith(full)) : -1);
nb.commitOptions = () =>
  nb.start.commits.map((_, place) => nb.commit(place)).reverse().map((one) => [one.hash, `${one.short} ${one.date.slice(0, 10)} ${one.subject.slice(0, 60)}`]);
