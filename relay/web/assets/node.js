// The page of one node: its figures live, and charts of its last hours.
"use strict";
import { follow, replace } from "./live.js";
import { chart } from "./chart.js";

const name = document.querySelector("main").dataset.node;
const path = encodeURIComponent(name);
const figures = [...document.querySelectorAll("#charts figure")].map((figure) => ({
  figure,
  chart: chart(figure, { unit: figure.dataset.unit, max: Number(figure.dataset.max) || undefined }),
}));
const buttons = [...document.querySelectorAll(".ranges button")];
let range = "1h", timer;

async function draw() {
  clearTimeout(timer);
  const wanted = range;
  await Promise.all(figures.map(async ({ figure, chart }) => {
    try {
      const answer = await fetch(`/api/nodes/${path}/history?vital=${figure.dataset.vital}&range=${wanted}`);
      if (!answer.ok || wanted !== range) return;
      const history = await answer.json();
      const start = Date.parse(history.start) / 1000;
      figure.hidden = !history.values.some((v) => v !== null);
      if (!figure.hidden) chart.show(history.values.map((_, i) => start + i * history.step_seconds), history.values);
    } catch { /* the next one may be answered */ }
  }));
  timer = setTimeout(draw, range === "6h" ? 60000 : 10000);
}

for (const button of buttons) {
  button.addEventListener("click", () => {
    range = button.dataset.range;
    for (const b of buttons) b.setAttribute("aria-pressed", String(b === button));
    draw();
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") location.href = "/";
});
follow(`/live/nodes/${path}`, {
  node: (html) => replace(document.getElementById("node"), html),
  gone: (_, source) => { source.close(); location.reload(); },
});
draw();
