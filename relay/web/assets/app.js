// Keeps the page current: fetches the part that changes and changes only what
// differs, so that focus, selection and scrolling stay.
"use strict";

const live = document.getElementById("live");
const filter = document.getElementById("filter");
const pulse = document.getElementById("pulse");

// morph makes the element `from` like `to`. Children with a data-key are
// matched by it, all others by their place.
function morph(from, to) {
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name)) from.removeAttribute(name);
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  const keyed = new Map();
  for (const child of from.children) if (child.dataset.key !== undefined) keyed.set(child.dataset.key, child);
  let at = from.firstChild;
  for (const want of [...to.childNodes]) {
    const key = want.dataset?.key;
    let have = key !== undefined ? keyed.get(key) : at;
    if (have && have !== at) from.insertBefore(have, at);
    if (have && have.nodeName === want.nodeName && (key !== undefined || have.dataset?.key === undefined)) {
      at = have.nextSibling;
      if (want.nodeType === Node.ELEMENT_NODE) morph(have, want);
      else if (have.nodeValue !== want.nodeValue) have.nodeValue = want.nodeValue;
    } else {
      from.insertBefore(want, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function applyFilter() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  const cards = live.querySelectorAll(".card");
  for (const card of cards) {
    card.hidden = !words.every((w) => card.dataset.search.includes(w));
    if (!card.hidden) shown++;
  }
  const nothing = live.querySelector(".nothing");
  if (nothing) nothing.hidden = shown > 0 || cards.length === 0;
}

function connected(yes) {
  document.body.classList.toggle("lost", !yes);
  const text = yes ? "live" : "connection lost, retrying";
  if (pulse.textContent !== text) pulse.textContent = text;
}

async function refresh() {
  try {
    const answer = await fetch("/fragment", { cache: "no-store", signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error(answer.statusText);
    const fresh = document.createElement("template");
    fresh.innerHTML = await answer.text();
    morph(live.querySelector(".live"), fresh.content.querySelector(".live"));
    applyFilter();
    connected(true);
  } catch {
    connected(false);
  }
  const every = Number(live.querySelector(".live").dataset.every) || 2;
  setTimeout(refresh, every * 1000);
}

filter.addEventListener("input", applyFilter);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== filter) {
    event.preventDefault();
    filter.focus();
  } else if (event.key === "Escape" && document.activeElement === filter) {
    filter.value = "";
    applyFilter();
    filter.blur();
  }
});

const copy = document.getElementById("copy");
if (navigator.clipboard) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById("file").textContent + "\n");
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 2000);
  });
}
applyFilter();
setTimeout(refresh, 2000);
