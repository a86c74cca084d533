// Drag across a chart to zoom into its commits, double-click to go back. Everything else works without this.
for (const chart of document.querySelectorAll("svg.chart")) {
  const plot = chart.querySelector(".plot");
  const [, , width, height] = plot.getAttribute("viewBox").split(" ").map(Number);
  const left = Number(chart.dataset.left);
  const labels = [...chart.querySelectorAll("[data-x]")];
  const show = (from, to) => {
    plot.setAttribute("viewBox", `${from} 0 ${to - from} ${height}`);
    for (const label of labels) {
      const share = (Number(label.dataset.x) - from) / (to - from);
      label.setAttribute("x", left + share * width);
      label.style.display = share < 0 || share > 1 ? "none" : "";
    }
  };
  const place = (event) => new DOMPoint(event.clientX, 0).matrixTransform(plot.getScreenCTM().inverse()).x;
  let start = null;
  chart.classList.add("zoomable");
  plot.addEventListener("pointerdown", (event) => { start = place(event); event.preventDefault(); });
  addEventListener("pointerup", (event) => {
    if (start === null) return;
    const end = place(event);
    const [from, to] = [Math.max(0, Math.min(start, end)), Math.min(width, Math.max(start, end))];
    start = null;
    if (to - from > width / 100) show(from, to);
  });
  plot.addEventListener("dblclick", () => show(0, width));
}
