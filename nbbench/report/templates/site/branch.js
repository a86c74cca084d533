"use strict";
// Branch: what each workload costs along the commits; two clicks choose what is compared.
const kinds = ["time", "tensor work", "host work", "peak memory", "time ratio", "fusion headroom"];

nb.views.branch = async (parts, query) => {
  const curves = await nb.curves();
  if (!curves.length) return [nb.el("h1", {}, "Branch"), nb.el("p", {}, "No workload has a curve yet: measure some commits with nbbench run.")];
  const names = [...new Set(curves.map((one) => one.workload))];
  const worst = Math.min(...curves.flatMap((one) => one.ev.map(([event]) => event)));
  const changed = curves.find((one) => one.ev.some(([event]) => event === worst))?.workload;
  const chosen = names.includes(query.get("w")) ? query.get("w") : changed ?? names[0];
  const by = query.get("by") ?? "commit", scale = query.get("y") ?? "", base = nb.placeOf(query.get("base"));
  const mine = curves.filter((one) => one.workload === chosen), span = nb.span(mine);
  const bar = nb.el("p", { class: "note", role: "status", id: "picked" });
  const pick = (place) => {
    if (place < 0) return;
    const one = nb.commit(place);
    if (base >= 0 && base !== place) return (location.hash = nb.link("compare", [nb.commit(Math.min(base, place)).hash, nb.commit(Math.max(base, place)).hash], { w: chosen }));
    nb.go({ base: one.hash });
  };
  bar.append(
    ...(base < 0
      ? ["Click a dot to choose a commit, a second one to compare the two. A label on top opens its event. Drag to zoom, double-click to go back."]
      : [nb.commitLink(base), ` ${nb.commit(base).subject} is chosen: click another dot to compare, or `, nb.a(nb.link("commit", [nb.commit(base).hash]), "open it"), ", ", nb.a(nb.hash({ base: "" }), "forget it"), "."]),
  );
  const charts = kinds.flatMap((kind) => {
    const some = mine.filter((one) => one.kind === kind);
    if (!some.length) return [];
    const shown = some.map((one, i) => nb.curve(one, [one.phase, one.machine].filter(Boolean).join(", "), i));
    const keys = shown.map((one) => nb.el("li", {}, nb.swatch(one.colour), nb.a(nb.link("series", [], { row: one.series }), one.name)));
    return [nb.el("figure", {}, nb.el("figcaption", {}, `${kind} of ${chosen}${some[0].benchmark ? ` (${some[0].benchmark})` : ""}`, nb.el("ul", { class: "legend" }, keys)), nb.history(shown, { by, scale, span, point: pick }))];
  });
  return [
    nb.el("h1", {}, `Branch: ${chosen}`),
    nb.el("div", { class: "controls" },
      nb.select("workload", chosen, names.map((name) => [name, name]), (w) => nb.go({ w })),
      nb.select("along", by, [["commit", "commits"], ["date", "dates"]], (to) => nb.go({ by: to })),
      nb.select("axis", scale, [["", "as it fits"], ["linear", "linear"], ["log", "logarithmic"]], (y) => nb.go({ y }))),
    bar,
    charts,
  ];
};

nb.swatch = (colour) => {
  const mark = nb.el("span", { class: `swatch ${colour.slice(2)}` });
  return mark;
};
