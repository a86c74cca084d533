// Draws each figure when it comes into view, in the page's colours.
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const dressed = (key, value) =>
  typeof value === "string" && /^--(ink|soft|line|worse|better)$/.test(value) ? colour(value) : value;
const draw = (plot) => {
  const { data, layout } = JSON.parse(plot.nextElementSibling.textContent, dressed);
  for (const axis of [layout.xaxis, layout.yaxis])
    if (axis) Object.assign(axis, { gridcolor: colour("--rule"), zerolinecolor: colour("--rule") });
  Object.assign(layout, { paper_bgcolor: "transparent", plot_bgcolor: "transparent", font: { color: colour("--soft") } });
  Plotly.newPlot(plot, data, layout, { responsive: true, displayModeBar: false });
};
const plots = document.querySelectorAll(".plot");
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries)
    if (entry.isIntersecting) {
      seen.unobserve(entry.target);
      draw(entry.target);
    }
}, { rootMargin: "400px" });
if (window.Plotly) plots.forEach((plot) => seen.observe(plot));
else plots.forEach((plot) => plot.replaceChildren("plotly.min.js is not beside this page: no figure can be drawn."));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.querySelectorAll(".js-plotly-plot").forEach(draw));
addEventListener("beforeprint", () => plots.forEach((plot) => window.Plotly && !plot.classList.contains("js-plotly-plot") && draw(plot)));
