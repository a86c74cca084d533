"use strict";
// Commit: where its work goes. Compare: two commits, line by line.
const titled = (one) => [nb.el("p", { class: "eyebrow" }, nb.code(one.hash), ` · ${one.date}`, nb.onWeb(one)), nb.el("h1", {}, one.subject || one.short)];

// The workloads of some commits, and the one that was asked for, or else that moves most.
const workloadOf = (query, ...docs) => {
  const names = [...new Set(docs.flatMap((doc) => Object.keys(doc?.workloads ?? {}).filter((name) => doc.workloads[name].lines.length)))].sort();
  const size = (name) => Math.max(...docs.map((doc) => doc?.workloads[name]?.bytes ?? 0));
  const largest = names.reduce((a, b) => (size(b) > size(a) ? b : a), names[0]);
  return [names, names.includes(query.get("w")) ? query.get("w") : largest];
};

nb.views.commit = async ([hash], query) => {
  if (!hash) return nb.commitList();
  const place = nb.placeOf(hash), one = nb.commit(place);
  if (place < 0) return nb.missing(`No commit ${hash} is on record.`);
  const [doc, curves] = await Promise.all([nb.work(place), nb.curves()]);
  const [names, name] = workloadOf(query, doc);
  const events = nb.start.events.filter((event) => event.lo >= 0 && event.lo <= place && place <= event.hi);
  const near = (step, words) => nb.commit(place + step).hash && nb.el("a", { href: nb.link("commit", [nb.commit(place + step).hash], { w: query.get("w") }), rel: step < 0 ? "prev" : "next" }, words);
  const compare = (other) => other && (location.hash = nb.link("compare", place < nb.placeOf(other) ? [one.hash, other] : [other, one.hash], { w: name }));
  return [
    titled(one),
    nb.el("p", { class: "steps" }, near(-1, "← commit before"), near(1, "commit after →"), place > 0 && nb.a(nb.link("compare", [nb.commit(place - 1).hash, one.hash], { w: name }), "compare with the one before")),
    events.length ? nb.eventTable(events, "Events here") : nb.el("p", { class: "note" }, "No event lies here."),
    nb.el("div", { class: "controls" }, names.length > 0 && nb.select("workload", name, names.map((n) => [n, n]), (w) => nb.go({ w })),
      nb.select("compare with", "", [["", "…"], ...nb.commitOptions()], compare)),
    name ? work(doc, name) : nb.el("p", { class: "note" }, "No ledger of this commit is on record: nbbench ledger records it, with no quiet machine."),
    figuresAt(place, curves, name),
    doc && (await roofline(doc, curves, place)),
  ];
};

const work = (doc, name) => {
  const one = doc.workloads[name];
  if (one.error) return nb.el("p", { class: "worse" }, `${name} fails: ${one.error}`);
  const [path, line, func] = one.peak_line;
  const rows = one.bytes_by_dtype.map(([dtype, bytes]) => [dtype, nb.value(bytes, "B"), `${((100 * bytes) / one.bytes).toFixed(1)} %`]);
  return [
    nb.el("h2", {}, `Where the bytes of ${name} go`),
    nb.el("p", {}, `${nb.value(one.bytes / one.pixels, "B/pixel")} in ${nb.value(one.ops, "operations")}. `, one.fused_bytes > 0 && `A perfect fusion would move ${nb.value(one.fused_bytes / one.pixels, "B/pixel")}: ${Math.round(one.bytes / one.fused_bytes)}× less. `,
      `Most bytes alive: ${nb.value(one.peak_live_bytes, "B")}${path ? ` at ${path}:${line} ${func}` : ""}. `, one.varies.length > 0 && "Some lines do not repeat from run to run."),
    nb.cost(doc, name),
    nb.el("h2", {}, "Dtypes"),
    nb.table(["dtype", "bytes", "share"], rows, { right: [1, 2], codes: [0], label: "Bytes by dtype" }),
    nb.el("p", { class: "note" }, `The output is ${one.output_dtype || "of no one dtype"}. ${one.upcast_bytes ? `${nb.value(one.upcast_bytes, "B")} are wider than asked for.` : "Nothing is wider than asked for."}`, one.notes.map((text) => ` ${text}`)),
  ];
};

// What was measured here, the chosen workload first.
const figuresAt = (place, curves, chosen) => {
  const rowsOf = (some) => some.flatMap((one) => {
    const i = one.at.indexOf(place);
    if (i < 0 || one.v[i] == null) return [];
    return [[nb.a(nb.link("branch", [], { w: one.workload, base: nb.commit(place).hash }), one.workload), one.kind, one.phase, nb.value(one.v[i], one.unit), ...nb.againstEnds(one, one.v[i]), one.s[i] === 3 ? "disturbed" : "", one.machine]];
  });
  const table = (rows, label) => nb.table(["workload", "what", "phase", "value", "against start", "against best", "remark", "machine"], rows, { right: [3, 4, 5], most: 30, label });
  const own = rowsOf(curves.filter((one) => one.workload === chosen)), rest = rowsOf(curves.filter((one) => one.workload !== chosen));
  return [
    own.length > 0 && [nb.el("h2", {}, `Phases of ${chosen}`), table(own, `Phases of ${chosen}`)],
    rest.length > 0 && (own.length ? nb.details(`${rest.length} figures of other workloads`, table(rest, "Other workloads")) : [nb.el("h2", {}, "Figures"), table(rest, "Figures")]),
  ];
};

// A machine's copy ceiling as it was measured last before a commit; null where none is on record.
const ceilingAt = async (machine, place) => {
  const row = (await nb.index()).find((one) => one.role === "machine" && one.unit === "B/s" && one.machine === machine);
  const one = row && (await nb.series(row)), i = one ? nb.valueAt(one, place) : null;
  return i == null ? null : one.v[i];
};

// Achieved bandwidth over the bytes that one operation touches, from the ledger and the times at this commit.
const roofline = async (doc, curves, place) => {
  const points = curves.filter((one) => one.kind === "time" && one.phase === "warm run").flatMap((one) => {
    const i = one.at.indexOf(place), ledger = doc.workloads[one.workload];
    return i >= 0 && one.v[i] > 0 && ledger?.ops ? [{ name: one.workload, machine: one.machine, size: ledger.bytes / ledger.ops, rate: ledger.bytes / one.v[i] }] : [];
  });
  const machines = [...new Set(points.map((one) => one.machine))], sizes = points.map((one) => one.size);
  if (!points.length) return null;
  const found = await Promise.all(machines.map(async (machine, i) => {
    const own = points.filter((one) => one.machine === machine), roof = await ceilingAt(machine, place), color = nb.palette[i];
    const share = (one) => (roof == null ? "" : `${nb.value((100 * one.rate) / roof, "%")}`);
    const words = (one) => nb.plain(`${one.name} on ${machine}: ${nb.value(one.rate, "B/s")}, ${nb.value(one.size, "B")} an operation`);
    const dots = { x: own.map((p) => p.size), y: own.map((p) => p.rate), text: own.map(words), hoverinfo: "text", mode: "markers", marker: { size: 8, color } };
    const ends = [Math.min(...sizes) / 2, 2 * Math.max(...sizes)];
    const line = { x: ends, y: [roof, roof], mode: "lines", line: { color, dash: "dash", width: 1.2 }, hoverinfo: "text", text: ends.map(() => nb.plain(`copying memory on ${machine}: ${nb.value(roof, "B/s")}`)) };
    const rows = own.sort((a, b) => b.size - a.size).map((one) => [one.name, nb.value(one.size, "B"), nb.value(one.rate, "B/s"), share(one), machine]);
    return { traces: roof == null ? [dots] : [dots, line], rows, key: nb.el("li", {}, nb.swatch(color), roof == null ? machine : `${machine} (copying memory: ${nb.value(roof, "B/s")})`) };
  }));
  const layout = { xaxis: { ...nb.axis(sizes, "B", true), title: { text: "bytes that one operation touches" } }, yaxis: nb.axis(points.map((one) => one.rate), "B/s", true) };
  return [nb.el("h2", {}, "Achieved bandwidth"), nb.el("ul", { class: "legend" }, found.map((one) => one.key)),
    nb.chart("achieved bandwidth by workload", () => ({ data: found.flatMap((one) => one.traces), layout }), { height: 320 }),
    nb.details("The same as a table", nb.table(["workload", "an operation touches", "achieved", "of copying", "machine"], found.flatMap((one) => one.rows), { right: [1, 2, 3], label: "Achieved bandwidth" })),
    nb.el("p", { class: "note" }, "A dashed line is what copying memory reaches. Below about 50 kB an operation, calling operations takes the time, not memory. nbbench roofline measures all of a machine's ceilings.")];
};

nb.commitList = () => {
  const counts = new Map();
  nb.start.events.forEach((one) => one.hi >= 0 && counts.set(one.hi, [...(counts.get(one.hi) ?? []), one]));
  const rows = nb.start.commits.map((_, place) => nb.commit(place)).reverse().map((one) => [nb.commitLink(one.place), one.date.slice(0, 10), String(one.position || ""), (counts.get(one.place) ?? []).map((event) => nb.a(nb.link("event", [event.id]), event.change)), one.subject]);
  const holder = nb.el("div"), fill = (text) => holder.replaceChildren(nb.table(["commit", "date", "#", "events", "title"], rows.filter((row) => row.some((cell) => (cell.textContent ?? String(cell)).toLowerCase().includes(text))), { right: [2], most: 60, label: "Commits" }));
  fill("");
  return [nb.el("h1", {}, "Commits"), nb.el("div", { class: "controls" }, nb.el("input", { type: "search", id: "filter", placeholder: "hash, date or title", "aria-label": "Filter commits", on: { input: (e) => fill(e.target.value.toLowerCase()) } })), holder];
};

nb.views.compare = async ([first, second], query) => {
  const [a, b] = [nb.placeOf(first), nb.placeOf(second)];
  if (a < 0 || b < 0) return nb.missing(`No commit ${a < 0 ? first : second} is on record.`);
  const [base, head, curves] = await Promise.all([nb.work(a), nb.work(b), nb.curves()]);
  const [names, name] = workloadOf(query, base, head), [one, other] = [nb.commit(a), nb.commit(b)];
  const rows = curves.flatMap((curve) => {
    const [i, j] = [nb.valueAt(curve, a), nb.valueAt(curve, b)];
    if (i == null || j == null) return [];
    return [[nb.a(nb.link("branch", [], { w: curve.workload }), curve.workload), curve.kind, curve.phase, nb.value(curve.v[i], curve.unit), nb.value(curve.v[j], curve.unit), nb.toned(curve.v[i], curve.v[j], curve.lower), curve.at[i] !== a || curve.at[j] !== b ? "measured before it" : "", curve.machine]];
  });
  const to = (parts) => (location.hash = nb.link("compare", parts, { w: name }));
  return [
    nb.el("h1", {}, nb.commitLink(a), " → ", nb.commitLink(b)),
    nb.el("p", {}, `${one.date.slice(0, 10)} ${one.subject}`, nb.el("br"), `${other.date.slice(0, 10)} ${other.subject}`),
    nb.el("div", { class: "controls" }, nb.select("first", one.hash, nb.commitOptions(), (hash) => to([hash, other.hash])), nb.select("second", other.hash, nb.commitOptions(), (hash) => to([one.hash, hash])),
      names.length > 0 && nb.select("workload", name, names.map((n) => [n, n]), (w) => nb.go({ w }))),
    nb.el("h2", {}, "Line by line"),
    name ? nb.costChange(base, head, name) : nb.el("p", { class: "note" }, "No ledger of these commits is on record."),
    nb.el("h2", {}, "What a user waits for, and the rest"),
    rows.length ? nb.table(["workload", "what", "phase", one.short, other.short, "change", "remark", "machine"], rows, { right: [3, 4, 5], most: 40, label: "Figures of both" }) : nb.el("p", { class: "note" }, "Nothing was measured at both."),
    nb.command(`nbbench explain ${one.short} ${other.short}`), nb.command(`nbbench gate ${one.short} ${other.short}`),
  ];
};
