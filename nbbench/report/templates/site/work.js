"use strict";
// Exact work of a commit, and of two side by side.

// A workload's lines as objects; code of no file is the benchmark's own.
nb.workLines = (doc, name) =>
  (doc?.workloads[name]?.lines ?? []).map(([at, op, dtype, count, bytes]) => {
    const [path, line, func] = doc.places[at];
    return { path: path || "(benchmark)", line, func: func || "(benchmark)", op: doc.words[op], dtype: doc.words[dtype], count, bytes };
  });

const byLine = (lines) => {
  const found = new Map();
  for (const one of lines) {
    const key = `${one.path}\n${one.func}\n${one.line}`;
    if (!found.has(key)) found.set(key, { path: one.path, func: one.func, line: one.line, count: 0, bytes: 0, ops: [] });
    const sum = found.get(key);
    sum.count += one.count;
    sum.bytes += one.bytes;
    sum.ops.push(`${one.op} ${one.dtype}`);
  }
  return [...found.values()].map((one) => ({ ...one, ops: [...new Set(one.ops)].sort().join(", ") })).sort((a, b) => a.line - b.line);
};

const grouped = (lines) => {
  const found = new Map();
  for (const one of byLine(lines)) {
    const key = `${one.path}\n${one.func}`;
    if (!found.has(key)) found.set(key, []);
    found.get(key).push(one);
  }
  return found;
};

// Lines of two commits in pairs: within a function those of equal operations in their order, then those that are left.
nb.pairs = (base, head) => {
  const before = grouped(base), after = grouped(head), pairs = [];
  for (const key of new Set([...before.keys(), ...after.keys()])) {
    let old = before.get(key) ?? [], now = after.get(key) ?? [];
    const pair = (same) => {
      for (const one of [...old]) {
        const other = now.find((line) => same(one, line));
        if (!other) continue;
        pairs.push([one, other]);
        old = old.filter((line) => line !== one);
        now = now.filter((line) => line !== other);
      }
    };
    pair((a, b) => a.ops === b.ops && a.count === b.count && a.bytes === b.bytes);
    pair((a, b) => a.ops === b.ops);
    pair((a, b) => a.line === b.line);
    pairs.push(...old.map((one) => [one, null]), ...now.map((one) => [null, one]));
  }
  return pairs;
};

// An icicle of bytes by file, function and line. With `others` (what the other commit moves, by the same keys) a part is
// coloured by the share of it that came or went; `later` says that the sizes are those of the later commit.
nb.icicle = (label, sizes, others = null, later = true) => {
  const totals = new Map(), beside = new Map();
  for (const [key, size] of sizes) {
    const place = key.split("\n");
    for (let depth = 0; depth <= place.length; depth++) {
      const node = place.slice(0, depth).join("\n");
      totals.set(node, (totals.get(node) ?? 0) + size);
      beside.set(node, (beside.get(node) ?? 0) + (others?.get(key) ?? 0));
    }
  }
  const nodes = [...totals.keys()], ids = new Map(nodes.map((node, i) => [node, String(i)]));
  const parent = (node) => (node === "" ? "" : ids.get(node.includes("\n") ? node.slice(0, node.lastIndexOf("\n")) : ""));
  const word = (node) => (node === "" ? "the run" : node.slice(node.lastIndexOf("\n") + 1).split("/").pop());
  const more = nodes.map((node) => (others ? (later ? 1 : -1) * (totals.get(node) - beside.get(node)) : 0));
  const size = (x) => nb.value(x, "B");
  const said = nodes.map((node, i) => size(totals.get(node)) + (more[i] ? ` (${more[i] > 0 ? "+" : "−"}${size(Math.abs(more[i]))})` : ""));
  const trace = {
    type: "icicle", ids: [...ids.values()], labels: nodes.map((node) => nb.plain(word(node))), parents: nodes.map(parent),
    values: nodes.map((node) => totals.get(node)), branchvalues: "total", tiling: { orientation: "v" }, hoverinfo: "text", text: said,
    textfont: { color: others ? "#1b1d20" : "--ink" },
    hovertext: nodes.map((node, i) => [...nb.plain(node).split("\n"), said[i]].join("<br>")),
    marker: others
      ? { colors: nodes.map((node, i) => more[i] / Math.max(totals.get(node), beside.get(node), 1)), colorscale: [[0, "#5aa9d6"], [0.5, "#f2efe8"], [1, "#e2785f"]], cmin: -1, cmax: 1, line: { width: 1, color: "--rule" } }
      : { colors: nodes.map((_, i) => (i ? "--code" : "--panel")), line: { width: 1, color: "--soft" } },
  };
  return nb.chart(label, () => ({ data: [trace], layout: { margin: { l: 2, r: 2, t: 4, b: 4 }, uniformtext: { minsize: 10, mode: "hide" } } }), { height: 340 });
};

const keyOf = (one) => `${one.path}\n${one.func}\n${one.line}`;

// Where one workload's bytes go: icicle, then the lines that move most.
nb.cost = (doc, name) => {
  const about = doc.workloads[name], lines = byLine(nb.workLines(doc, name)).sort((a, b) => b.bytes - a.bytes);
  const share = (one) => (about.bytes ? `${((100 * one.bytes) / about.bytes).toFixed(1)} %` : "");
  const rows = lines.map((one) => [`${one.path}:${one.line}`, one.func, one.ops, String(one.count), (one.bytes / about.pixels).toFixed(2), share(one)]);
  return [
    nb.icicle(`${name}: bytes by file, function and line`, new Map(lines.map((one) => [keyOf(one), one.bytes]))),
    nb.table(["line", "function", "operations", "calls", "B/pixel", "share"], rows, { right: [3, 4, 5], codes: [0, 1], most: 15, label: "Lines by bytes" }),
  ];
};

// Two commits' work on one workload: the icicle of the second, coloured, and the lines that differ.
nb.costChange = (base, head, name) => {
  const before = base?.workloads[name], after = head?.workloads[name];
  if (!before || !after || before.error || after.error)
    return [nb.el("p", { class: "note" }, [!before && "No ledger of the first commit.", !after && "No ledger of the second commit.", before?.error, after?.error].filter(Boolean).join(" "))];
  const pairs = nb.pairs(nb.workLines(base, name), nb.workLines(head, name));
  const moved = pairs.map(([a, b]) => ({ a, b, delta: (b?.bytes ?? 0) - (a?.bytes ?? 0), calls: (b?.count ?? 0) - (a?.count ?? 0) }));
  const icicle = (side) => {
    const sizes = new Map(), others = new Map();
    for (const pair of moved) {
      const [one, other] = side ? [pair.b, pair.a] : [pair.a, pair.b];
      const key = keyOf(one ?? { ...other, line: `${other.line} (${side ? "gone" : "new"})` });
      sizes.set(key, (sizes.get(key) ?? 0) + (one?.bytes ?? 0));
      others.set(key, (others.get(key) ?? 0) + (other?.bytes ?? 0));
    }
    const when = `bytes ${side ? "after" : "before"}`;
    return nb.el("figure", {}, nb.el("figcaption", {}, side ? `${when}: red is more than before` : `${when}: blue becomes less, red more`), nb.icicle(`${name}: ${when}, by file, function and line`, sizes, others, side === 1));
  };
  const differ = moved.filter((one) => one.delta || one.calls).sort((a, b) => Math.abs(b.delta) - Math.abs(a.delta) || Math.abs(b.calls) - Math.abs(a.calls));
  const perPixel = (one, doc) => (one ? (one.bytes / doc.pixels).toFixed(2) : "—");
  const line = ({ a, b }) => (a && b && a.line !== b.line ? `${b.path}:${a.line} → ${b.line}` : `${(b ?? a).path}:${(b ?? a).line}`);
  const rows = differ.map((one) => [
    line(one), (one.b ?? one.a).func, (one.b ?? one.a).ops, perPixel(one.a, before), perPixel(one.b, after),
    nb.toned(one.a?.bytes ?? 0, one.b?.bytes ?? 0, true), `${one.a?.count ?? 0} → ${one.b?.count ?? 0}`,
  ]);
  const image = before.image_digest === after.image_digest ? "The image is bit-identical." : "The images differ in their bits.";
  return [
    nb.el("p", {}, `${name}: ${nb.value(before.bytes / before.pixels, "")} → ${nb.value(after.bytes / after.pixels, "B/pixel")} (`,
      nb.toned(before.bytes, after.bytes, true), `), ${nb.value(before.ops, "")} → ${nb.value(after.ops, "operations")} (`, nb.toned(before.ops, after.ops, true), "), peak ",
      `${nb.value(before.peak_live_bytes, "B")} → ${nb.value(after.peak_live_bytes, "B")}. ${image}`),
    nb.el("div", { class: "pair" }, icicle(0), icicle(1)),
    rows.length
      ? nb.table(["line", "function", "operations", "B/pixel before", "after", "change", "calls"], rows, { right: [3, 4, 5, 6], codes: [0, 1], most: 20, label: "Lines that differ" })
      : nb.el("p", { class: "note" }, "No line differs."),
  ];
};

// The commit's document; null where no ledger of it is on record.
nb.work = async (place) => {
  const { tree } = nb.commit(place);
  return tree < 0 || tree === undefined ? null : nb.load(`commit/${tree}`);
};
