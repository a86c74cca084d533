// Pieces of text whose contrast with what lies behind them is below WCAG AA's 4.5 : 1.
(() => {
  const parts = (text) => text.match(/[\d.]+/g).map(Number);
  const linear = (x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
  const light = (rgb) => [0.2126, 0.7152, 0.0722].reduce((sum, part, i) => sum + part * linear(rgb[i] / 255), 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parts(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const poor = new Set();
  for (const node of document.querySelectorAll("body *")) {
    const text = [...node.childNodes].some((kid) => kid.nodeType === 3 && kid.data.trim());
    if (!text || node.closest("svg") || !node.offsetParent) continue;
    const [a, b] = [light(parts(getComputedStyle(node).color)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.add(`${node.tagName} ${node.className} ${ratio.toFixed(2)}`);
  }
  return [...poor];
})()
