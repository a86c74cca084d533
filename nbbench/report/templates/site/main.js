"use strict";
// Addresses, keys and the theme. A view is named by the fragment: #/series?q=bandwidth.
const offered = [["overview", "Overview"], ["branch", "Branch"], ["series", "Series"], ["commit", "Commits"], ["plan", "Plan"], ["evidence", "Evidence"], ["noise", "Noise"]];
const main = document.getElementById("app");

const address = () => {
  const [path, query] = location.hash.slice(location.hash.startsWith("#/") ? 2 : 1).split("?");
  const [view, ...parts] = path.split("/").map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
  return { view, parts, query: new URLSearchParams(query ?? "") };
};

// The present address with some values changed; "" takes one away.
nb.hash = (values) => {
  const { view, parts, query } = address();
  const kept = Object.fromEntries([...new Set(query.keys())].map((name) => [name, query.getAll(name)]));
  return nb.link(view || "overview", parts, { ...kept, ...values });
};
nb.go = (values) => (location.hash = nb.hash(values));
// The same without drawing anew.
nb.remember = (values) => history.replaceState(null, "", nb.hash(values));
nb.missing = (words) => [nb.el("h1", {}, "Not found"), nb.el("p", {}, words), nb.a("#/overview", "To the overview")];

let turn = 0, path = null;
nb.show = async () => {
  const mine = ++turn, { view, parts, query } = address();
  const known = Object.hasOwn(nb.views, view);
  // asv's feed and its own addresses name benchmarks behind the #.
  if (!known && nb.start.asv && location.hash && !location.hash.startsWith("#/") && !/^#(asv-offline|app|event-.*)$/.test(location.hash)) return location.replace(`asv.html${location.hash}`);
  const name = known ? view : "overview";
  let kids;
  try {
    kids = location.hash.startsWith("#/") && !known ? nb.missing(`This site has no view ${view}.`) : await nb.views[name](parts, query);
  } catch (error) {
    kids = [nb.el("h1", { class: "worse" }, "This cannot be shown"), nb.el("p", {}, error.message)];
  }
  if (mine !== turn) return;
  main.replaceChildren(...[kids].flat(9).filter((kid) => kid != null && kid !== false));
  const current = name === "event" ? "overview" : name === "compare" ? "commit" : name;
  document.querySelectorAll("#views a").forEach((link) => (link.dataset.view === current ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current")));
  document.title = `${main.querySelector("h1")?.textContent ?? ""} · ${nb.start.title}`;
  // A new view begins at its top; another value of the same view stays where the reader is.
  const now = location.hash.split("?")[0];
  if (path !== null && path !== now) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
  path = now;
  main.dataset.shown = location.hash;
};

const theme = (to) => {
  if (to) document.documentElement.dataset.theme = to;
  else delete document.documentElement.dataset.theme;
  try { localStorage.setItem("nbbench-theme", to); } catch { /* a page from disk may keep nothing */ }
  nb.redraw();
};
const help = nb.el("dialog", { id: "help", "aria-label": "Keys" },
  nb.el("h2", {}, "Keys"),
  nb.table(["key", "does"], [["j, k", "next, previous row of the first table that is in view"], ["Enter", "open the row"], ["/", "search"], ["[, ]", "previous, next event or commit"], ["1 … 7", "overview, branch, series, commits, plan, evidence, noise"], ["t", "light, dark, as the system"], ["?", "this"], ["Esc", "close"]], { codes: [0] }),
  nb.el("button", { type: "button", on: { click: () => help.close() } }, "Close"));

const step = (by) => {
  const rows = [...main.querySelectorAll("tr[data-row]")].filter((row) => row.offsetParent);
  const old = rows.findIndex((row) => row.classList.contains("here"));
  const row = rows[Math.max(0, Math.min(rows.length - 1, old < 0 ? (by > 0 ? 0 : rows.length - 1) : old + by))];
  if (!row) return;
  rows[old]?.classList.remove("here");
  row.classList.add("here");
  row.querySelector("a").focus();
  row.scrollIntoView({ block: "nearest" });
};

const keys = {
  j: () => step(1), k: () => step(-1),
  "/": () => { const field = document.getElementById("filter"); if (field) field.focus(); else location.hash = "#/series"; },
  "?": () => (help.open ? help.close() : help.showModal()),
  "[": () => main.querySelector("a[rel=prev]")?.click(), "]": () => main.querySelector("a[rel=next]")?.click(),
  t: () => theme({ "": "dark", dark: "light", light: "" }[document.documentElement.dataset.theme ?? ""]),
};
offered.forEach(([view], i) => (keys[i + 1] = () => (location.hash = nb.link(view))));

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (!Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
});
addEventListener("hashchange", () => nb.show());
document.querySelector(".skip").addEventListener("click", (event) => (event.preventDefault(), main.focus()));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nb.redraw);

(async () => {
  try { theme(localStorage.getItem("nbbench-theme") ?? ""); } catch { /* as the system */ }
  try {
    nb.start = await nb.load("start");
  } catch (error) {
    document.documentElement.classList.remove("js");
    return document.getElementById("plain").prepend(nb.el("p", { class: "worse" }, error.message));
  }
  const button = nb.el("button", { type: "button", on: { click: keys.t }, "aria-label": "Change the colours" }, "◐");
  document.getElementById("views").append(...offered.map(([view, words]) => nb.el("a", { href: nb.link(view), "data-view": view }, words)), button);
  document.body.append(help);
  await nb.show();
})();
