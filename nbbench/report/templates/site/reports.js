"use strict";
// Plan, evidence and noise.
const verdictTone = { meets: "better", misses: "worse" };

nb.views.plan = async () => {
  const [{ said, rows, series }, folders, index] = await Promise.all([nb.load("plan"), nb.load("evidence"), nb.index()]);
  if (!said) return [nb.el("h1", {}, "Plan"), nb.el("p", {}, "This project has no plan item: [tool.nbbench.plans] declares one.")];
  const made = rows.map(([id, title, spec, tests, ours, value, interval, age, commit, machine, verdict, source, folder, about], i) => {
    const found = folders.find((one) => one.path === folder), own = series[i].map((number) => index[number]).filter(Boolean);
    const limits = [["spec", spec], ["tests", tests], ["ours", ours]].filter(([, limit]) => limit !== "—").map(([who, limit]) => [nb.el("span", { class: "short" }, `${who} ${limit}`), " "]);
    const past = own.length > 0 && nb.a(nb.link("series", [], { s: own.slice(0, 8).map((one) => one.key) }), nb.count(Math.max(...own.map((one) => one.points)), "commit"));
    return [
      [nb.el("strong", {}, id), nb.el("br"), title, about && nb.details("how", about)],
      nb.el("span", { class: verdictTone[verdict] }, verdict), value === "—" ? "" : [value, interval === "exact" ? " exact" : nb.el("div", { class: "note" }, interval)], limits,
      commit === "—" ? "" : [nb.commitLink(nb.placeOf(commit)) || nb.code(commit), nb.el("div", { class: "note short" }, `${age} ago, ${machine}`)],
      past || "", found ? nb.a(`${found.address}/summary.md`, source) : source === "—" ? "" : nb.code(source),
    ];
  });
  return [nb.el("h1", {}, "Plan"), nb.el("p", {}, said), nb.table(["criterion", "verdict", "value", "thresholds", "measured", "history", "evidence"], made, { right: [2], label: "Criteria" })];
};

const share = (x) => (x < 1 ? `${(100 * x).toFixed(1)} %` : `${(1 + x).toFixed(1)}×`);

nb.views.noise = async () => {
  const { machines, kernels, calibrations } = await nb.load("noise");
  const known = Object.entries(machines).map(([machine, { said, series }]) => [
    nb.el("h2", {}, machine), nb.el("ul", {}, said.map((text) => nb.el("li", {}, text))),
    nb.table(["series, the noisiest first", "scatter", "3 + 3 commits show"], series.map(([label, sigma, least]) => [label, share(sigma), share(least)]), { right: [1, 2], codes: [0], most: 20, label: `Scatter on ${machine}` }),
  ]);
  const gates = Object.entries(calibrations).map(([where, series]) => [
    nb.el("h2", {}, `Equal code against itself: ${where}`),
    nb.table(["series", "scatter", "floor of the gate", "rounds"], Object.entries(series).sort((a, b) => b[1].floor - a[1].floor)
      .map(([label, { sigma, floor, rounds }]) => [label, share(sigma), share(floor), String(rounds)]), { right: [1, 2, 3], codes: [0], most: 20, label: "Noise of the gate" }),
  ]);
  const none = known.length ? null : nb.el("p", {}, "No timed series is long enough to tell how far equal code scatters.");
  return [nb.el("h1", {}, "Noise: what can be told apart"), none, known, gates, Object.entries(kernels).map(kernelsOf)];
};

// The reference kernels over the time at which they ran: they never change, so only the machine moves them.
const kernelsOf = ([machine, rows]) => {
  const data = nb.programs.map((name, i) => ({
    name, x: rows.map((row) => new Date(1000 * row[0]).toISOString().slice(0, 19)), y: rows.map((row) => row[i + 1]), mode: "markers", hoverinfo: "text",
    text: rows.map((row) => `${new Date(1000 * row[0]).toISOString().slice(0, 16)} ${nb.value(row[i + 1], "seconds")}`),
    marker: { color: nb.palette[i], size: 5 },
  }));
  const layout = { xaxis: { type: "date" }, yaxis: nb.axis(rows.flatMap((row) => row.slice(1)).filter((v) => v > 0), "seconds", true) };
  return nb.el("figure", {}, nb.el("h2", {}, `Reference kernels on ${machine}`), nb.el("figcaption", {}, "Fixed programs, timed beside the benchmarks: they never change, so only the machine moves them."),
    nb.el("ul", { class: "legend" }, nb.programs.map((name, i) => nb.el("li", {}, nb.swatch(nb.palette[i]), name))),
    nb.chart(`reference kernels on ${machine}`, () => ({ data, layout }), { height: 300 }));
};

nb.views.evidence = async () => {
  const folders = await nb.load("evidence");
  if (!folders.length) return [nb.el("h1", {}, "Evidence"), nb.el("p", {}, "No evidence folder is on record: nbbench export and nbbench capture write them.")];
  const rows = folders.map((one) => [
    nb.a(`${one.address}/summary.md`, nb.code(one.path)), one.verdict || "not recorded", one.kind, nb.commitLink(nb.placeOf(one.commit)) || one.commit.slice(0, 8), one.stamp, one.machine,
    one.damage.length ? nb.el("span", { class: "worse" }, `changed since: ${one.damage[0]}`) : one.problems[0] ?? "whole",
  ]);
  return [
    nb.el("h1", {}, `Evidence: ${nb.count(folders.length, "folder")}`),
    nb.table(["folder", "verdict", "kind", "commit", "stamp", "machine", "state"], rows, { label: "Evidence folders" }),
    folders.filter((one) => one.figures.length).map((one) => nb.details(`${one.path}: ${nb.count(one.figures.length, "figure")}`,
      nb.el("p", {}, ["commands.txt", "env.txt", "sha256.txt"].map((name) => [nb.a(`${one.address}/${name}`, name), " "])),
      nb.table(["figure", "of", "value"], one.figures.map(({ name, workload, value, unit }) => [name, workload, nb.value(value, unit)]), { right: [2], codes: [0], most: 30 }))),
  ];
};
