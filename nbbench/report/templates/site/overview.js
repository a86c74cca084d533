"use strict";
// Overview: the verdict, what is open, where the branch stands.
const stateOf = (one) => one.state || (one.direction === "regression" ? "" : one.direction);

nb.eventTable = (events, label, most = 40) =>
  nb.table(
    ["event", "change", "cause", "where", "date", "state", "commit"],
    events.map((one) => [
      nb.a(nb.link("event", [one.id]), nb.code(one.id)),
      nb.el("span", { class: one.direction === "regression" ? "worse" : one.direction === "improvement" ? "better" : "" }, one.change),
      one.cause, one.where, one.date, stateOf(one), one.hi < 0 ? one.subject : nb.titleLink(one.hi),
    ]),
    { codes: [3], most, label },
  );

// First, best and newest value of a curve, disturbed ones left out where there are others.
nb.standing = (curve) => {
  const known = [...curve.at.keys()].filter((i) => curve.v[i] != null);
  const clean = known.filter((i) => !curve.s[i]);
  const good = clean.length ? clean : known;
  const best = good.reduce((a, b) => (curve.lower === false ? curve.v[b] > curve.v[a] : curve.v[b] < curve.v[a]) ? b : a, good[0]);
  return { start: good[0], best, now: good.at(-1) };
};

nb.valueAt = (curve, place) => {
  let found = null;
  for (let i = 0; i < curve.at.length && curve.at[i] <= place; i++) if (curve.v[i] != null) found = i;
  return found;
};

// A value against the curve's first and best; without words where there is no other value.
nb.againstEnds = (one, value) => {
  const { start, best, now } = nb.standing(one);
  if (start === now) return ["", ""];
  return [nb.toned(one.v[start], value, one.lower), one.lower == null ? "" : nb.toned(one.v[best], value, one.lower)];
};

const standingRows = (curves, against) =>
  curves.map((one) => {
    const { start, now } = nb.standing(one), v = one.v;
    const chosen = against >= 0 ? nb.valueAt(one, against) : null;
    return [
      nb.a(nb.link("branch", [], { w: one.workload }), one.workload), one.kind, one.phase, nb.value(v[now], one.unit),
      ...nb.againstEnds(one, v[now]),
      ...(against >= 0 ? [chosen == null ? "not measured" : nb.toned(v[chosen], v[now], one.lower)] : []),
      start === now ? "one value" : nb.sparkline(one), one.machine,
    ];
  });

nb.views.overview = async (parts, query) => {
  const { start } = nb, [release, tagged] = start.release, asked = query.get("against");
  const against = asked == null ? tagged : nb.placeOf(asked), shown = asked == null ? release.slice(0, 40) : nb.commit(against).short;
  const open = start.events.filter((one) => one.open);
  const of = (direction) => start.events.filter((one) => one.direction === direction && !one.open);
  const many = (one) => one.v.filter((v) => v != null).length > 1;
  const curves = [...(await nb.curves())].sort((a, b) => many(b) - many(a));
  const words = (query.get("q") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const table = nb.el("div");
  const fill = () => {
    const some = curves.filter((one) => words.every((word) => `${one.workload} ${one.kind} ${one.phase} ${one.machine}`.toLowerCase().includes(word)));
    const head = ["workload", "what", "phase", "now", "against start", "against best", ...(against >= 0 ? [`against ${shown}`] : []), "trend", "machine"];
    table.replaceChildren(nb.table(head, standingRows(some, against), { right: against >= 0 ? [3, 4, 5, 6] : [3, 4, 5], most: 24, label: "Where the branch stands" }));
  };
  fill();
  const filter = nb.el("input", { type: "search", id: "filter", value: query.get("q") ?? "", placeholder: "filter, as: time bandwidth", "aria-label": "Filter workloads" });
  filter.addEventListener("input", () => {
    words.splice(0, words.length, ...filter.value.toLowerCase().split(/\s+/).filter(Boolean));
    nb.remember({ q: filter.value });
    fill();
  });
  const folded = (list, words) => list.length > 0 && nb.details(`${list.length} ${words}`, nb.eventTable(list, words));
  const noise = await nb.load("noise");
  const machine = Object.entries(noise.machines).flatMap(([name, { said }]) => said.slice(0, 2).map((text) => `${name}: ${text}`));
  return [
    nb.el("h1", { class: open.length ? "worse" : start.nothing || !start.events.length ? "" : "better" }, start.headline),
    nb.el("p", { class: "note" }, [start.counts, start.machines.length ? `times and memory of ${start.machines.join(", ")}` : ""].filter(Boolean).join("; ")),
    open.length ? nb.eventTable(open, "Open regressions", 12) : nb.el("p", {}, "No regression asks for a decision."),
    folded(of("regression"), "settled or recovered"), folded(of("change"), "of unknown direction"), folded(of("improvement"), of("improvement").length === 1 ? "improvement" : "improvements"),
    nb.el("h2", {}, "Where the branch stands"),
    curves.length
      ? [nb.el("div", { class: "controls" }, filter, nb.select("against", nb.commit(against).hash, [["", "no commit"], ...nb.commitOptions()], (hash) => nb.go({ against: hash }))), table]
      : nb.el("p", { class: "note" }, "No workload has a curve yet."),
    start.not_judged.length > 0 && [
      nb.el("h2", {}, `Not judged: ${start.not_judged_words}`),
      nb.table(["series", "why", "since", "detail"], start.not_judged.map((one) => [one.series, one.reason, one.since.slice(0, 8), one.detail]), { codes: [0, 2], most: 10, label: "Not judged" }),
    ],
    machine.length > 0 && [nb.el("h2", {}, "Machine and noise"), nb.el("ul", {}, machine.map((one) => nb.el("li", {}, one))), nb.a(nb.link("noise"), "More of what can be told apart")],
    start.asv && nb.el("p", { class: "note" }, nb.a("asv.html", "asv's own pages"), " load their libraries from the network."),
  ];
};
