// The overview: places the cards as they come, filters and groups them.
"use strict";
import { follow, elements, morph, replace, age } from "./live.js";

const live = document.getElementById("live");
const nodes = document.getElementById("nodes");
const filter = document.getElementById("filter");
const group = document.getElementById("group");
const nothing = document.getElementById("nothing");
const more = document.getElementById("more"); // as long as cards are to come
const collator = new Intl.Collator("en", { numeric: true });
const cards = new Map(); // by the node's name
for (const card of nodes.querySelectorAll(".card")) cards.set(card.dataset.key, card);

const tagsOf = (card) => JSON.parse(card.dataset.tags || "{}");
const known = new Set(); // tags that can be grouped by

const sections = new Map(); // of the groups, by the tag's value

// container is where a card belongs: the list, or the section of its group.
function container(card) {
  if (!group.value) return nodes;
  const value = tagsOf(card)[group.value] ?? "";
  let section = sections.get(value);
  if (!section) {
    section = document.createElement("section");
    section.dataset.group = value;
    section.className = `group-of ${nodes.dataset.size}`;
    const title = document.createElement("h2");
    title.textContent = value || `no ${group.value}`;
    section.append(title);
    const after = [...nodes.children].find((s) => collator.compare(s.dataset.group, value) > 0);
    nodes.insertBefore(section, after ?? null);
    sections.set(value, section);
  }
  return section;
}

function before(a, b) {
  return (a.dataset.rank - b.dataset.rank || collator.compare(a.dataset.key, b.dataset.key)) < 0;
}

// Cards that are to be placed. They come in crowds: those that the page has not
// got are placed in one go when all are there, for each go moves whatever follows,
// but at once if somebody looks for them.
const misplaced = new Set();
const partial = () => live.dataset.partial !== undefined;

function placeSoon(card) {
  if (misplaced.size === 0 && !(partial() && filter.value === "" && group.value === "")) requestAnimationFrame(placeAll);
  misplaced.add(card);
}

// placeAll puts the misplaced among the others, in one walk through all.
function placeAll() {
  const focused = document.activeElement;
  for (const card of misplaced) card.remove();
  const walk = new Map(); // by container, the card that was come to
  for (const card of [...misplaced].sort((a, b) => (before(a, b) ? -1 : 1))) {
    const into = container(card);
    let at = walk.has(into) ? walk.get(into) : into.querySelector(":scope > .card");
    while (at && before(at, card)) at = at.nextElementSibling;
    into.insertBefore(card, at);
    walk.set(into, at);
    learnTags(card);
  }
  misplaced.clear();
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
  tidy();
}

function take(fresh) {
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

// tidy takes empty groups away, hides those of which nothing is shown, and says
// so if that is all.
function tidy() {
  for (const section of nodes.querySelectorAll(".group-of")) {
    if (!section.querySelector(".card")) {
      section.remove();
      if (sections.get(section.dataset.group) === section) sections.delete(section.dataset.group);
    } else section.hidden = !section.querySelector(".card:not([hidden])");
  }
  nothing.hidden = partial() || cards.size === 0 || nodes.querySelector(".card:not([hidden])") !== null;
}

let words = []; // that a card has to have

function show(card) {
  const hide = !words.every((word) => card.dataset.search.includes(word));
  if (card.hidden !== hide) card.hidden = hide;
}

function showAll() {
  words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  cards.forEach(show);
  placeAll();
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
  sections.clear();
  for (const card of cards.values()) misplaced.add(card);
  placeAll();
  nodes.classList.toggle("grouped", group.value !== "");
}

nodes.dataset.size = nodes.className.replace("nodes", "").trim();
for (const card of cards.values()) learnTags(card);
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

if (more) more.hidden = false;
follow(`/live?version=${live.dataset.version}${partial() ? "&all" : ""}`, {
  cards: (html) => {
    elements(html).forEach(take);
    tidy();
  },
  complete: () => {
    delete live.dataset.partial;
    more.remove();
    placeAll();
  },
  gone: (name) => {
    misplaced.delete(cards.get(name));
    cards.get(name)?.remove();
    cards.delete(name);
    tidy();
  },
  summary: (html) => replace(document.getElementById("summary"), html),
  reload: (_, source) => {
    source.close();
    location.reload();
  },
});
showAll();
