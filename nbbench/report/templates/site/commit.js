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
    nb.el("p", { class: "steps" }, near(-1, "← before"), " ", near(1, "after →"), place > 0 && [" · ", nb.a(nb.link("compare", [nb.commit(place - 1).hash, one.hash], { w: name }), "compare with the one before")]),
    events.length ? nb.eventTable(events, "Events here") : nb.el("p", { class: "note" }, "No event lies here."),
    nb.el("div", { class: "controls" }, names.length > 0 && nb.select("workload", name, names.map((n) => [n, n]), (w) => nb.go({ w })),
      nb.select("compare with", "", [["", "…"], ...nb.commitOptions()], compare)),
    name ? work(doc, name) : nb.el("p", { class: "note" }, "No ledger of this commit is on record: nbbench ledger records it, with no quiet machine."),
    figuresAt(place, curves),
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
    nb.el("p", {}, `${(one.bytes / one.pixels).toFixed(1)} B/pixel in ${one.ops} operations. `, one.fused_bytes > 0 && `A perfect fusion would move ${(one.fused_bytes / one.pixels).toFixed(1)} B/pixel: ${Math.round(one.bytes / one.fused_bytes)}× less. `,
      `Most bytes alive: ${nb.value(one.peak_live_bytes, "B")}${path ? ` at ${path}:${line} ${func}` : ""}. `, one.varies.length > 0 && "Some lines do not repeat from run to run."),
    nb.cost(doc, name),
    nb.el("h2", {}, "Dtypes"),
    nb.table(["dtype", "bytes", "share"], rows, { right: [1, 2], codes: [0], label: "Bytes by dtype" }),
    nb.el("p", { class: "note" }, `The output is ${one.output_dtype || "of no one dtype"}. ${one.upcast_bytes ? `${nb.value(one.upcast_bytes, "B")} are wider than asked for.` : "Nothing is wider than asked for."}`, one.notes.map((text) => ` ${text}`)),
  ];
};

// What was measured of each workload and phase here.
const figuresAt = (place, curves) => {
  const here = curves.flatMap((one) => {
    const i = one.at.indexOf(place);
    if (i < 0 || one.v[i] == null) return [];
    const { start, best } = nb.standing(one);
    return [[nb.a(nb.link("branch", [], { w: one.workload, base: nb.commit(place).hash }), one.workload), one.kind, one.phase, nb.value(one.v[i], one.unit), nb.toned(one.v[start], one.v[i], one.lower), one.lower == null ? "" : nb.toned(one.v[best], one.v[i], one.lower), one.s[i] === 3 ? "disturbed" : "", one.machine]];
  });
  if (!here.length) return null;
  return [nb.el("h2", {}, "Phases"), nb.table(["workload", "what", "phase", "value", "against start", "against best", "remark", "machine"], here, { right: [3, 4, 5], most: 30, label: "Phases" })];
};

// The machine's copy ceiling as it was measured last; null where none is on record.
const ceilingAt = async (place) => {
  const row = (await nb.index()).find((one) => one.role === "machine" && one.unit === "B/s");
  const one = row && (await nb.series(row)), i = one ? nb.valueAt(one, place) : null;
  return i == null ? null : one.v[i];
};

// Achieved bandwidth over the bytes that one operation touches, from the ledger and the times at this commit.
const roofline = async (doc, curves, place) => {
  const points = curves.filter((one) => one.kind === "time" && one.phase === "warm run").flatMap((one) => {
    const i = one.at.indexOf(place), ledger = doc.workloads[one.workload];
    return i >= 0 && one.v[i] > 0 && ledger?.ops ? [{ name: one.workload, size: ledger.bytes / ledger.ops, rate: ledger.bytes / one.v[i] }] : [];
  });
  if (!points.length) return null;
  const words = (one) => nb.plain(`${one.name}: ${nb.value(one.rate, "B/s")}, ${nb.value(one.size, "B")} an operation`);
  const data = [{ x: points.map((p) => p.size), y: points.map((p) => p.rate), text: points.map((_, i) => String(i + 1)), hovertext: points.map(words), hoverinfo: "text", mode: "markers+text", textposition: "top center", marker: { size: 9, color: "--line" } }];
  const roof = await ceilingAt(place), ends = [Math.min(...points.map((p) => p.size)) / 2, 2 * Math.max(...points.map((p) => p.size))];
  if (roof != null) data.push({ x: ends, y: [roof, roof], mode: "lines", line: { color: "--ink", dash: "dash", width: 1.2 }, hoverinfo: "text", text: ends.map(() => `copying memory: ${nb.value(roof, "B/s")}`) });
  const axis = { type: "log", tickformat: "~s", dtick: 1 };
  const layout = { xaxis: { ...axis, ticksuffix: "B", title: { text: "bytes that one operation touches" } }, yaxis: { ...axis, ticksuffix: "B/s" } };
  return [nb.el("h2", {}, "Achieved bandwidth"), nb.chart("achieved bandwidth by workload", () => ({ data, layout }), { height: 320 }),
    nb.el("ol", { class: "legend" }, points.map((one) => nb.el("li", {}, `${one.name} ${nb.value(one.rate, "B/s")}`))),
    nb.el("p", { class: "note" }, `${roof == null ? "" : "The dashed line is what copying memory reaches. "}Below about 50 kB an operation, calling operations takes the time, not memory. nbbench roofline measures all of the machine's ceilings.`)];
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
