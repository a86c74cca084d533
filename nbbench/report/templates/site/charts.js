"use strict";
// Charts by Plotly, whose script is loaded when the first one comes into view.
nb.plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
nb.colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
// What the reference kernels do, in the order of the data.
nb.programs = ["operations over frames of memory", "arithmetic in the cache"];
nb.palette = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7", "--c8"];

// Plotly brings the style sheet of its maps along, which no chart here needs and the page's policy refuses.
const plotly = async () => {
  document.head.appendChild = (node) => (node.tagName === "STYLE" && node.textContent ? node : Node.prototype.appendChild.call(document.head, node));
  await nb.script("nbbench/plotly.min.js").finally(() => delete document.head.appendChild);
};

// Colours given as names of the page's variables, so that charts follow its theme.
const dressed = (value) => {
  if (typeof value === "string") return /^--[a-z0-9]+$/.test(value) ? nb.colour(value) : value;
  if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map(dressed);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, dressed(v)]));
  return value;
};

const look = (layout) => {
  const plain = { gridcolor: "--rule", zerolinecolor: "--rule", linecolor: "--rule", automargin: true };
  const axis = (key) => ({ ...plain, fixedrange: key[0] === "y", ...layout[key] });
  const axes = Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key));
  return dressed({
    margin: { l: 70, r: 12, t: 26, b: 36 },
    showlegend: false,
    hovermode: "closest",
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",  // a finger scrolls the page
    hoverlabel: { align: "left", bgcolor: "--panel", bordercolor: "--rule", font: { color: "--ink", size: 12 } },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { color: "--soft", size: 12 },
    ...layout,
    ...Object.fromEntries(["xaxis", "yaxis", ...axes].map((key) => [key, axis(key)])),
  });
};

const drawings = new Set();
const seen = new IntersectionObserver(
  (entries) => entries.forEach((entry) => entry.isIntersecting && (seen.unobserve(entry.target), entry.target.draw())),
  { rootMargin: "300px" },
);

// A chart: `build(range, width)` gives traces and layout for a visible range of the first axis (null: all of it).
nb.chart = (label, build, { height = 260, still = false, on = {} } = {}) => {
  const div = nb.el("div", { class: "plot", role: "img", "aria-label": label });
  div.style.height = `${height}px`;
  const made = (range) => {
    const { data, layout } = build(range, div.clientWidth);
    return [dressed(data), look({ height, ...layout })];
  };
  let range = null;
  div.draw = async () => {
    try {
      await (nb.plotly ??= plotly());
    } catch (error) {
      return div.replaceChildren(error.message);
    }
    if (!div.isConnected) return;
    await Plotly.react(div, ...made(range), { responsive: true, displaylogo: false, displayModeBar: false, staticPlot: still });
    if (div.heard) return;
    div.heard = true;
    for (const [event, act] of Object.entries(on)) div.on(event, act);
    div.on("plotly_relayout", (change) => {
      const low = change["xaxis.range[0]"], high = change["xaxis.range[1]"];
      if (low === undefined && !change["xaxis.autorange"]) return;
      range = low === undefined ? null : [low, high];
      const [data, layout] = made(range);
      if (range) Object.assign(layout.xaxis, { range, autorange: false });
      Plotly.react(div, data, layout);
    });
  };
  drawings.add(div);
  seen.observe(div);
  return div;
};
nb.redraw = () => {
  for (const div of drawings) {
    if (!div.isConnected) drawings.delete(div);
    else if (div.classList.contains("js-plotly-plot")) div.draw();
  }
};

addEventListener("beforeprint", () => drawings.forEach((div) => div.isConnected && div.draw()));

// At most so many points: of each stretch the first, the least, the largest and the last, and all that are marked.
nb.thin = (places, values, marked, most = 3000) => {
  if (places.length <= most) return places;
  const kept = new Set(), width = Math.ceil((places.length * 4) / most);
  for (let from = 0; from < places.length; from += width) {
    const part = places.slice(from, from + width);
    const known = part.filter((i) => values[i] != null);
    for (const i of part) if (marked[i] !== undefined) kept.add(i);
    if (!known.length) continue;
    kept.add(known[0]).add(known.at(-1));
    kept.add(known.reduce((a, b) => (values[b] < values[a] ? b : a))).add(known.reduce((a, b) => (values[b] > values[a] ? b : a)));
  }
  return [...kept].sort((a, b) => a - b);
};

const said = { 1: "failed", 2: "skipped", 3: "disturbed by other load, left out of verdicts" };
const place = (at, by) => (by === "date" ? nb.commit(at).date.replace("Z", "") : at);
const hover = (curve, i) => {
  const one = nb.commit(curve.at[i]);
  const lines = [`${one.short} ${one.date.slice(0, 10)}`, one.subject.slice(0, 90), curve.name];
  lines.push(curve.v[i] == null ? said[curve.s[i]] ?? "no value" : nb.value(curve.v[i], curve.unit));
  if (curve.n?.[i] > 1) lines.push(`${nb.value(curve.lo[i], curve.unit)} to ${nb.value(curve.hi[i], curve.unit)} in ${curve.n[i]} samples`);
  if (curve.v[i] != null && curve.s[i]) lines.push(said[curve.s[i]]);
  return lines.filter(Boolean).map(nb.plain).join("<br>");
};

const traces = (curve, { by, range }) => {
  const inside = (i) => !range || by === "date" || (curve.at[i] >= range[0] - 1 && curve.at[i] <= range[1] + 1);
  const shown = nb.thin([...curve.at.keys()].filter(inside), curve.v, curve.s);
  const values = shown.map((i) => curve.v[i]);
  const dots = {
    name: nb.plain(curve.name), x: shown.map((i) => place(curve.at[i], by)), y: values, mode: "lines+markers", hoverinfo: "text",
    text: shown.map((i) => hover(curve, i)), customdata: shown.map((i) => curve.at[i]), connectgaps: true,
    line: { color: curve.colour, width: 1 },
    marker: {
      color: curve.colour, size: shown.map((i) => (curve.s[i] ? 8 : 5)), line: { width: shown.map((i) => (curve.s[i] === 3 ? 1.5 : 0)) },
      symbol: shown.map((i) => (curve.s[i] === 3 ? "circle-open" : "circle")),
    },
  };
  const failed = shown.filter((i) => curve.s[i] === 1);
  const least = Math.min(...values.filter((v) => v != null));
  const marks = {
    x: failed.map((i) => place(curve.at[i], by)), y: failed.map(() => (Number.isFinite(least) ? least : 0)), mode: "markers", hoverinfo: "text",
    text: failed.map((i) => hover(curve, i)), customdata: failed.map((i) => curve.at[i]), marker: { symbol: "x", color: "--worse", size: 9 },
  };
  const steps = [...(curve.ev ?? [])].filter((one) => one[1] >= 0 && one[2] >= 0).sort((a, b) => a[2] - b[2]);
  const levels = steps.flatMap(([, lo, hi, before, after], i) => [
    ...(i ? [] : [[curve.at[0], Math.max(lo - 1, curve.at[0]), before]]), [hi, steps[i + 1]?.[1] ?? curve.at.at(-1), after],
  ]).filter((one) => one[2] != null);
  const dashes = levels.map(([from, to, level]) => ({
    x: [place(from, by), place(to, by)], y: [level, level], mode: "lines", hoverinfo: "skip", line: { color: "--ink", width: 1.2, dash: "dash" },
  }));
  return [dots, ...dashes, ...(failed.length ? [marks] : [])];
};

// Bands of events (the commits in which each lies), with what changed as a label that can be clicked.
const bands = (curves, { by, focus, span, width }) => {
  const found = new Map();
  for (const curve of curves)
    for (const [event, lo, hi, , , words, way] of curve.ev ?? []) if (lo >= 0 && hi >= 0) found.set(event, { event, lo, hi, words, way });
  const some = [...found.values()].sort((a, b) => a.hi - b.hi);
  const along = (at) => (by === "date" ? Date.parse(nb.commit(at).date.replace(" ", "T")) : at);
  const apart = ((along(span[1]) - along(span[0])) * 75) / width, labelled = [];
  for (const one of [...some.filter((one) => one.event === focus), ...some])
    if (labelled.every((other) => Math.abs(along(one.hi) - along(other.hi)) >= apart)) labelled.push(one);
  const tone = ({ way }) => (way > 0 ? "--worse" : way < 0 ? "--better" : "--line");
  const half = by === "date" ? 0 : 0.4;
  const ends = ({ lo, hi }) => [lo, hi].map((at, i) => (half ? at + (i ? half : -half) : place(at, by)));
  return {
    shapes: some.map((one) => ({
      type: "rect", layer: "below", yref: "paper", y0: 0, y1: 1, x0: ends(one)[0], x1: ends(one)[1],
      fillcolor: tone(one), opacity: one.event === focus ? 0.35 : 0.15, line: { width: by === "date" ? 1.5 : 0, color: tone(one) },
    })),
    annotations: labelled.map((one) => ({
      x: place(one.hi, by), y: 1, yref: "paper", yanchor: "bottom", showarrow: false, captureevents: true,
      xanchor: along(span[1]) - along(one.hi) < apart / 2 ? "right" : "center", name: String(one.event), text: nb.plain(one.words), font: { color: tone(one) },
    })),
  };
};

// Dates below the commits of a range.
nb.ticks = ([low, high], width) => {
  const from = Math.max(0, Math.ceil(low)), to = Math.floor(high);
  const step = Math.max(1, Math.ceil((to - from) / Math.max(2, Math.floor(width / 150))));
  const places = [];
  for (let at = from; at <= to && at < nb.start.commits.length; at += step) places.push(at);
  return { tickmode: "array", tickvals: places, ticktext: places.map((at) => nb.commit(at).date.slice(0, 10)) };
};

// The first and the last commit of curves.
nb.span = (curves) => {
  const ends = curves.flatMap((one) => [one.at[0], one.at.at(-1)]);
  return [Math.min(...ends), Math.max(...ends)];
};

const extremes = (values) => [values.reduce((a, b) => Math.min(a, b), Infinity), values.reduce((a, b) => Math.max(a, b), -Infinity)];

// An axis of these values, labelled as figures are written elsewhere; a long unit becomes its title.
nb.axis = (values, unit, log = false) => {
  const [least, most] = extremes(values);
  if (!values.length) return { type: "linear" };
  const binary = /^(bytes$|B$|B \(|B (held|printed|moved|alive)$)/.test(unit), marks = [];
  if (log && most > 4 * least) {
    const root = binary ? Math.log2 : Math.log10, first = Math.floor(root(least)), powers = Math.ceil(root(most)) - first;
    const steps = binary || powers > 4 ? [1] : [1, 2, 5], each = Math.ceil((powers * steps.length) / 12);
    for (let n = first; n <= first + powers; n += each) marks.push(...steps.map((step) => (binary ? 2 ** n : Number(`${step}e${n}`))));
  } else {
    const scale = binary ? 1024 ** Math.max(0, Math.floor(Math.log2(Math.abs(most) || 1) / 10)) : 1;
    const rough = (most - least || Math.abs(most) || 1) / scale / 5, power = 10 ** Math.floor(Math.log10(rough));
    const step = scale * power * [1, 2, 5, 10].find((one) => one * power >= rough);
    for (let n = 0; n < 8; n++) marks.push((Math.floor(least / step) + n) * step);
  }
  const long = unit.length > 12 && unit !== "B (exact)";
  return {
    type: log ? "log" : "linear", tickmode: "array", tickvals: marks, ticktext: marks.map((v) => nb.plain(nb.value(v, long ? "" : unit))),
    ...(long ? { title: { text: nb.plain(unit), font: { size: 11 } } } : {}),
    ...(most > least || log ? {} : { range: [Math.min(0, 1.5 * least), Math.max(0, 1.5 * most) || 1] }),
  };
};

// Curves along the commits, from the first to the last of `span`. `point(place)` is called for a clicked dot; a clicked event opens.
nb.history = (curves, { by = "commit", scale = "", focus = -1, point = null, height = 260, span = nb.span(curves) } = {}) => {
  const inside = (range) => curves.flatMap((one) => one.v.filter((v, i) => v != null && (!range || by === "date" || (one.at[i] >= range[0] - 1 && one.at[i] <= range[1] + 1))));
  const [least, most] = extremes(inside(null)), log = least > 0 && (scale ? scale === "log" : most > 8 * least);
  const build = (range, width) => ({
    data: curves.flatMap((curve) => traces(curve, { by, range })),
    layout: {
      xaxis: by === "date" ? { type: "date" } : { ...nb.ticks(range ?? span, width), range: range ?? [span[0] - 1, span[1] + 1] },
      yaxis: nb.axis(inside(range), curves[0].unit, log),
      ...bands(curves, { by, focus, span: range && by !== "date" ? range : span, width }),
    },
  });
  const on = {
    plotly_click: ({ points }) => point?.(points[0].customdata ?? -1),
    plotly_clickannotation: ({ annotation }) => (location.hash = nb.link("event", [nb.start.events[annotation.name]?.id])),
  };
  return nb.chart(curves.map((one) => one.name).join(", "), build, { height, on });
};

// A curve of the branch, or a series, as `nb.history` wants it.
nb.curve = (one, name, number = 0) => ({ ...one, name, s: one.s ?? {}, colour: nb.palette[number % nb.palette.length] });

nb.sparkline = (one) => {
  const curve = nb.curve(one, "");
  const good = [...curve.at.keys()].filter((i) => curve.v[i] != null && !curve.s[i]);
  const build = () => ({
    data: [{ x: good.map((i) => curve.at[i]), y: good.map((i) => curve.v[i]), mode: "lines", line: { color: "--line", width: 1.3, shape: "hv" }, hoverinfo: "skip" }],
    layout: { margin: { l: 1, r: 1, t: 2, b: 2 }, xaxis: { visible: false, range: [0, nb.start.commits.length] }, yaxis: { visible: false, rangemode: "normal" } },
  });
  const div = nb.chart(`trend of ${one.workload}`, build, { height: 30, still: true });
  div.classList.add("spark");
  return div;
};
