// The page of the relay itself: destinations live, and the rate of lines.
"use strict";
import { follow, replace } from "./live.js";
import { chart } from "./chart.js";

const holder = document.getElementById("relay");
const rate = chart(document.getElementById("rate"), { unit: "" });
const times = [], values = [];
let last;

async function measure() {
  try {
    const status = await (await fetch("/api/status")).json();
    const now = Date.now() / 1000;
    if (last && status.ingest.lines >= last.lines) {
      times.push(now);
      values.push((status.ingest.lines - last.lines) / (now - last.at));
      if (times.length > 900) {
        times.shift();
        values.shift();
      }
      rate.show(times, values);
    }
    last = { at: now, lines: status.ingest.lines };
  } catch { /* the next one may be answered */ }
  setTimeout(measure, 2000);
}

follow("/live/relay", { relay: (html) => replace(holder, html) });
measure();
