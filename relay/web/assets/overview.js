// The overview: places the cards as they come, filters and groups them.
"use strict";
import { follow, element, morph, replace, setClock, age } from "./live.js";

const live = document.getElementById("live");
const nodes = document.getElementById("nodes");
const filter = document.getElementById("filter");
const group = document.getElementById("group");
const nothing = document.getElementById("nothing");
const collator = new Intl.Collator("en", { numeric: true });
const cards = new Map(); // by the node's name
for (const card of nodes.querySelectorAll(".card")) cards.set(card.dataset.key, card);

const tagsOf = (card) => JSON.parse(card.dataset.tags || "{}");
const known = new Set(); // tags that can be grouped by

// container is where a card belongs: the list, or the section of its group.
function container(card) {
  if (!group.value) return nodes;
  const value = tagsOf(card)[group.value] ?? "";
  let section = [...nodes.children].find((s) => s.dataset.group === value);
  if (!section) {
    section = document.createElement("section");
    section.dataset.group = value;
    section.className = `group-of ${nodes.dataset.size}`;
    const title = document.createElement("h2");
    title.textContent = value || `no ${group.value}`;
    section.append(title);
    const after = [...nodes.children].find((s) => collator.compare(s.dataset.group, value) > 0);
    nodes.insertBefore(section, after ?? null);
  }
  return section;
}

function before(a, b) {
  return (a.dataset.rank - b.dataset.rank || collator.compare(a.dataset.key, b.dataset.key)) < 0;
}

// place puts a card where its rank belongs.
function place(card) {
  const into = container(card);
  const others = [...into.children].filter((c) => c !== card && c.dataset.key !== undefined);
  let low = 0, high = others.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (before(others[middle], card)) low = middle + 1;
    else high = middle;
  }
  const next = others[low] ?? null;
  if (card.parentElement !== into || card.nextElementSibling !== next) into.insertBefore(card, next);
}

// Cards that are to be placed. They come in crowds: when a fleet is new, all of
// them at once.
const misplaced = new Set();
const crowd = 20;

function placeSoon(card) {
  if (misplaced.size === 0) requestAnimationFrame(placeAll);
  misplaced.add(card);
}

function placeAll() {
  if (misplaced.size < crowd) misplaced.forEach(place);
  else for (const card of [...cards.values()].sort((a, b) => (before(a, b) ? -1 : 1))) container(card).append(card);
  for (const card of misplaced) learnTags(card);
  misplaced.clear();
  tidy();
}

function take(html) {
  const fresh = element(html);
  const card = cards.get(fresh.dataset.key);
  if (!card) {
    cards.set(fresh.dataset.key, fresh);
    show(fresh);
    age(fresh);
    placeSoon(fresh);
    return;
  }
  const moved = card.dataset.rank !== fresh.dataset.rank || card.dataset.tags !== fresh.dataset.tags;
  const hidden = card.hidden;
  morph(card, fresh);
  card.hidden = hidden;
  age(card);
  if (moved) placeSoon(card);
  show(card);
}

// tidy takes empty groups away.
function tidy() {
  for (const section of nodes.querySelectorAll(".group-of")) if (!section.querySelector(".card")) section.remove();
}

function show(card) {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const hide = !words.every((word) => card.dataset.search.includes(word));
  if (card.hidden !== hide) card.hidden = hide;
}

function showAll() {
  let shown = 0;
  for (const card of cards.values()) {
    show(card);
    if (!card.hidden) shown++;
  }
  for (const section of nodes.querySelectorAll(".group-of")) section.hidden = !section.querySelector(".card:not([hidden])");
  nothing.hidden = shown > 0 || cards.size === 0;
}

function learnTags(card) {
  for (const key of Object.keys(tagsOf(card))) {
    if (known.has(key)) continue;
    known.add(key);
    group.add(new Option(key, key));
    group.parentElement.hidden = false;
  }
}

function regroup() {
  for (const card of cards.values()) misplaced.add(card);
  placeAll();
  nodes.classList.toggle("grouped", group.value !== "");
  showAll();
}

nodes.dataset.size = nodes.className.replace("nodes", "").trim();
for (const card of cards.values()) learnTags(card);
setClock(Number(live.querySelector(".top-part").dataset.now));
group.addEventListener("change", regroup);
filter.addEventListener("input", showAll);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== filter) {
    event.preventDefault();
    filter.focus();
  } else if (event.key === "Escape" && document.activeElement === filter) {
    filter.value = "";
    showAll();
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

follow(`/live?version=${live.dataset.version}`, {
  card: take,
  gone: (name) => {
    misplaced.delete(cards.get(name));
    cards.get(name)?.remove();
    cards.delete(name);
    tidy();
  },
  summary: (html) => {
    replace(document.getElementById("summary"), html);
    setClock(Number(live.querySelector(".top-part").dataset.now));
  },
  reload: (_, source) => {
    source.close();
    location.reload();
  },
});
showAll();
