// A chart of one vital over time, by uPlot, in the page's own colours.
"use strict";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const clock = (t) => new Date(t * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });

// chart makes an empty chart in an element; show(times, values) fills it.
export function chart(holder, { unit, max }) {
  let plot, data;
  const size = () => ({ width: Math.max(200, holder.clientWidth), height: 180 });
  const text = (v) => (v === null || v === undefined ? "–" : `${v.toFixed(v < 10 ? 1 : 0)} ${unit}`.trim());
  // Where nobody points at a time the legend has the latest value.
  const latest = () => data?.[1].findLast((v) => v !== null && v !== undefined);
  function make() {
    plot?.destroy();
    const axis = { stroke: css("--soft"), grid: { stroke: css("--track"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    plot = new uPlot({
      ...size(),
      cursor: { y: false },
      legend: { live: true },
      scales: { y: { range: (_, low, high) => (max ? [0, max] : [Math.min(low ?? 0, 0) || Math.floor((low ?? 0) * 0.95), Math.max(1, (high ?? 1) * 1.05)]) } },
      axes: [{ ...axis, size: 30, values: (_, ticks) => ticks.map(clock) }, { ...axis, size: 48, values: (_, ticks) => ticks.map((v) => `${v} ${unit}`.trim()) }],
      series: [
        { label: "At", value: (_, t) => (t ? new Date(t * 1000).toLocaleTimeString() : "latest") },
        { label: holder.querySelector("figcaption").textContent, stroke: css("--calm"), fill: css("--wash"), width: 1.5, spanGaps: false, points: { show: false }, value: (_, v, __, at) => text(at === null ? latest() : v) },
      ],
    }, data ?? [[], []], holder);
  }
  new ResizeObserver(() => plot?.setSize(size())).observe(holder);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot && make());
  return {
    show(times, values) {
      // A node that writes less often than a step is no gap.
      data = [times, bridge(values)];
      if (plot) plot.setData(data);
      else make();
    },
  };
}

// bridge leaves out steps without a value between two that are near: uPlot
// draws a line over what is undefined, and none over null.
function bridge(values) {
  const filled = [...values];
  let last = -1;
  values.forEach((v, i) => {
    if (v === null) return;
    if (last >= 0 && i - last <= 12) for (let j = last + 1; j < i; j++) filled[j] = undefined;
    last = i;
  });
  return filled;
}
