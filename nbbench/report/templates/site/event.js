"use strict";
// Event: what happened in one sentence, why, which lines pay, and what to type.
const CHARTS = 4;

nb.views.event = async ([id]) => {
  const number = nb.start.events.findIndex((one) => one.id === id), one = nb.start.events[number];
  if (!one) return nb.missing(`No event ${id} is on record: later measurements may have narrowed its commits.`);
  const more = await nb.load(`event/${number}`);
  const base = one.lo > 0 ? one.lo - 1 : -1;
  const facts = [one.range, one.date, one.phase, one.state, one.plan].filter(Boolean).join(" · ");
  return [
    nb.el("p", { class: "eyebrow" }, nb.code(one.id)),
    nb.el("h1", { class: one.direction === "regression" ? "worse" : one.direction === "improvement" ? "better" : "" }, more.sentence),
    nb.el("p", {}, nb.commitLink(one.hi), " ", one.subject || nb.commit(one.hi).subject, one.hi >= 0 && nb.onWeb(nb.commit(one.hi))),
    nb.el("p", { class: "note" }, facts, more.recovered >= 0 && [one.direction === "regression" ? " · recovered by " : " · undone by ", nb.commitLink(more.recovered)], more.undoes && [" · undoes ", nb.a(nb.link("event", [more.undoes]), nb.code(more.undoes))]),
    nb.steps(number),
    nb.el("h2", {}, `Why: ${one.cause}`),
    more.evidence.length ? nb.el("ul", {}, more.evidence.filter((text) => !more.lines.some(({ where }) => text.startsWith(where))).map((text) => nb.el("li", {}, text))) : nb.el("p", { class: "note" }, "No evidence is on record."),
    more.lines.length > 0 && [nb.el("h2", {}, "The lines that pay"),
      nb.table(["line", "function", "what", "before", "after", "workload"], more.lines.map((line) => [line.where, line.function, [line.op, line.dtype, line.name].filter(Boolean).join(" "), nb.value(line.before, line.unit), nb.value(line.after, line.unit), line.workload]), { right: [3, 4], codes: [0, 1], most: 12, label: "Lines that pay" })],
    more.hunks.length > 0 && [nb.el("h2", {}, "The hunks that cause it"),
      nb.table(["hunk", "share"], more.hunks.map((hunk) => [hunk.place, hunk.share == null ? (more.hunks.length > 1 ? "together with the others" : "all of it") : `${Math.round(100 * hunk.share)} %`]), { right: [1], codes: [0], label: "Hunks" })],
    await workBeside(one, base, more.workloads),
    nb.el("h2", {}, "The series that moved"),
    await seriesThatMoved(more.changes, number),
    more.commands.length > 0 && [nb.el("h2", {}, "To see it again"), more.commands.map(nb.command)],
    more.history.length > 0 && [nb.el("h2", {}, "History of the flag"),
      nb.table(["date", "state", "person", "reason", "until"], more.history.map((step) => [step.date.slice(0, 10), step.state, step.person, step.reason, (step.expires ?? "").slice(0, 10)]), { label: "History of the flag" })],
  ];
};

// Links to the events before and after it in the list.
nb.steps = (number) => {
  const [before, after] = [nb.start.events[number - 1], nb.start.events[number + 1]];
  return nb.el("p", { class: "steps" }, before && nb.el("a", { href: nb.link("event", [before.id]), rel: "prev" }, `← event before: ${before.change}`), after && nb.el("a", { href: nb.link("event", [after.id]), rel: "next" }, `event after: ${after.change} →`));
};

const workBeside = async (one, base, workloads) => {
  if (base < 0 || one.hi < 0 || !workloads.length) return null;
  const [before, after] = await Promise.all([nb.work(base), nb.work(one.hi)]);
  if (!before?.workloads[workloads[0]] || !after?.workloads[workloads[0]]) return null;
  const [a, b] = [nb.commit(base), nb.commit(one.hi)];
  return [nb.el("h2", {}, "Work before and after"), nb.costChange(before, after, workloads[0]), nb.a(nb.link("compare", [a.hash, b.hash], { w: workloads[0] }), `Compare ${a.short} and ${b.short} in full`)];
};

const seriesThatMoved = async (changes, number) => {
  const rows = await nb.index();
  const known = changes.filter(([id]) => id >= 0);
  const drawn = [...new Set(known.map(([id]) => id))].slice(0, CHARTS);
  const curves = await Promise.all(drawn.map((id) => nb.series(rows[id])));
  const figure = (one) => nb.el("figure", {}, nb.el("figcaption", {}, nb.a(nb.link("series", [], { s: [one.key] }), nb.code(one.label)), " ", nb.el("span", { class: "note" }, `${one.machine} · ${one.env}`)),
    nb.history([nb.curve(one, one.label)], { focus: number, height: 230, point: (place) => place >= 0 && (location.hash = nb.link("commit", [nb.commit(place).hash])) }));
  const cells = changes.map(([id, label, before, after, moved, interval, machine, worse]) => [
    id >= 0 ? nb.a(nb.link("series", [], { s: [rows[id].key] }), nb.code(label)) : nb.code(label), before, after,
    nb.el("span", { class: worse ? "worse" : "" }, moved), interval, machine]);
  return [nb.el("div", { class: "pair" }, curves.map(figure)), nb.table(["series", "before", "after", "change", "interval", "machine"], cells, { right: [1, 2, 3], most: 12, label: "Series that moved" })];
};
