"use strict";
// Series: find some among thousands, lay them over each other, look at the samples.
const MOST = 8; // curves in one chart

const facets = [["machine", "machine"], ["env", "environment"], ["role", "metric"], ["phase", "phase"]];

nb.views.series = async (parts, query) => {
  const rows = await nb.index();
  const row = query.get("row");
  const wanted = row != null ? [rows[Number(row)]?.key] : query.getAll("s");
  const chosen = wanted.map((key) => rows.find((one) => one.key === key)).filter(Boolean).slice(0, MOST);
  const lost = wanted.length - chosen.length;
  const list = nb.el("div", { id: "found" }), count = nb.el("p", { class: "note", role: "status" });
  const now = Object.fromEntries(["q", "changed", ...facets.map(([name]) => name)].map((name) => [name, query.get(name) ?? ""]));
  const toggle = (one) => {
    const keys = chosen.map((other) => other.key);
    nb.go({ s: keys.includes(one.key) ? keys.filter((key) => key !== one.key) : [...keys, one.key], row: "" });
  };
  const fill = () => {
    const words = now.q.toLowerCase().split(/\s+/).filter(Boolean);
    const found = rows.filter((one) =>
      words.every((word) => one.text.includes(word)) && (!now.changed || (now.changed === "yes") === one.changes > 0) && facets.every(([name]) => !now[name] || one[name] === now[name]));
    count.textContent = `${found.length} of ${nb.count(rows.length, "series", "series")}`;
    const told = (name) => new Set(found.map((one) => one[name])).size > 1;
    const [machines, environments] = [told("machine"), told("env")];
    const cells = (one) => [
      nb.a(nb.hash({ ...now, s: [one.key], row: "" }), nb.code(one.label)),
      nb.el("button", { type: "button", on: { click: () => toggle(one) }, "aria-label": `Lay over: ${one.label}` }, chosen.includes(one) ? "−" : "+"),
      one.role, one.phase, one.unit, machines ? one.machine : "", environments ? one.env : "", one.changes ? String(one.changes) : "", String(one.points),
    ];
    list.replaceChildren(nb.table(["series", "overlay", "metric", "phase", "unit", "machine", "environment", "changes", "points"], found, { right: [7, 8], most: 60, label: "Series found", cells }));
  };
  const set = (name, value) => {
    now[name] = value;
    nb.remember(now);
    fill();
  };
  const filter = nb.el("input", { type: "search", id: "filter", value: now.q, placeholder: "words of benchmark, parameter, machine", "aria-label": "Search series", on: { input: (e) => set("q", e.target.value) } });
  const options = (name) => [["", "any"], ...[...new Set(rows.map((one) => one[name]))].sort().map((one) => [one, one || "(none)"])];
  fill();
  return [
    nb.el("h1", {}, chosen.length === 1 ? nb.code(chosen[0].label) : chosen.length ? `${chosen.length} series` : "Series"),
    lost > 0 && nb.el("p", { class: "worse" }, `${lost} of the series in this address are not on record, or more than ${MOST} were asked for.`),
    chosen.length > 0 && (await nb.seriesFigure(chosen, query)),
    nb.el("div", { class: "controls" }, filter, facets.map(([name, words]) => nb.select(words, now[name], options(name), (value) => set(name, value))),
      nb.select("changed", now.changed, [["", "any"], ["yes", "changed"], ["no", "not changed"]], (value) => set("changed", value))),
    count, list,
  ];
};

// The charts of chosen series: one for each unit, then reference kernels and samples on demand.
nb.seriesFigure = async (chosen, query) => {
  const curves = (await Promise.all(chosen.map(nb.series))).map((one, i) => nb.curve(one, [one.label, one.machine, one.env].join(" · "), i));
  const by = query.get("by") ?? "commit", scale = query.get("y") ?? "";
  const legend = curves.map((one) => {
    const left = Object.values(one.s).filter((state) => state === 3).length;
    const failed = Object.values(one.s).filter((state) => state === 1).length;
    const said = [nb.count(one.at.length, "point"), left && `${left} disturbed (open circles)`, failed && `${failed} failed (crosses)`].filter(Boolean).join(", ");
    return nb.el("li", {}, nb.swatch(one.colour), one.name, nb.el("span", { class: "note" }, ` ${said}`));
  });
  const events = [...new Set(curves.flatMap((one) => one.ev.map(([event]) => event)))].map((i) => nb.start.events[i]);
  const units = [...new Set(curves.map((one) => one.unit))];
  const open = (place) => place >= 0 && (location.hash = nb.link("commit", [nb.commit(place).hash]));
  const extra = nb.el("div");
  const button = (words, act) => nb.el("button", { type: "button", on: { click: async (e) => { e.target.disabled = true; extra.append(await act()); } } }, words);
  const kernels = () => nb.el("div", {}, curves.filter((one) => one.c).map((one) => nb.el("figure", {}, nb.el("figcaption", {}, `reference kernels beside ${one.name}: fixed programs that only the machine moves`),
    nb.history(one.c.map((v, i) => nb.curve({ at: one.at, v, unit: "seconds" }, nb.programs[i], i)), { by, height: 200 }))));
  const samples = async () => nb.el("div", {}, await Promise.all(curves.map(async (one) => nb.samplesFigure(one, await nb.samples(one)))));
  return nb.el("section", {},
    nb.el("ul", { class: "legend" }, legend),
    units.map((unit) => nb.history(curves.filter((one) => one.unit === unit), { by, scale, point: open, height: 320 })),
    nb.el("div", { class: "controls" },
      nb.select("along", by, [["commit", "commits"], ["date", "dates"]], (to) => nb.go({ by: to })),
      nb.select("axis", scale, [["", "as it fits"], ["linear", "linear"], ["log", "logarithmic"]], (y) => nb.go({ y })),
      curves.some((one) => one.n) && button("Raw samples", samples), curves.some((one) => one.c) && button("Reference kernels", kernels)),
    extra,
    events.length > 0 && nb.eventTable(events, "Events of these series"),
    nb.el("p", { class: "note" }, "Click a dot for its commit. Drag to zoom, double-click to go back. Shaded commits are those in which a cause lies, dashed lines the levels on both sides."));
};

nb.samplesFigure = (curve, samples) => {
  if (!samples) return nb.el("p", { class: "note" }, `${curve.name}: no samples were kept.`);
  const places = curve.at.flatMap((at, i) => (samples[i] ?? []).map(() => at)), values = samples.flat();
  const shown = nb.thin([...values.keys()], values, {}, 12000);
  const data = [{ x: shown.map((i) => places[i]), y: shown.map((i) => values[i]), mode: "markers", hoverinfo: "text", marker: { size: 3, color: curve.colour, opacity: 0.6 }, text: shown.map((i) => nb.plain(`${nb.commit(places[i]).short} ${nb.value(values[i], curve.unit)}`)) }];
  return nb.el("figure", {}, nb.el("figcaption", {}, `every sample of ${curve.name}`), nb.chart(`samples of ${curve.name}`, (range, width) => ({ data, layout: { xaxis: nb.ticks(range ?? nb.span([curve]), width), yaxis: nb.axis(values, curve.unit) } }), { height: 220 }));
};
