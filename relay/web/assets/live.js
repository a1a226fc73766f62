// What every page shares: it follows a stream of changes, changes only what
// differs, so that focus, selection and scrolling stay, and counts the ages.
"use strict";

const pulse = document.getElementById("pulse");
let offset = 0; // of the relay's clock to this one, in milliseconds

// follow listens to a stream of server-sent events, and says whether it does.
export function follow(url, handlers) {
  const source = new EventSource(url);
  source.onopen = () => connected(true);
  source.onerror = () => {
    connected(false);
    // The browser comes again by itself, unless it was turned away.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => again(url, handlers), 5000);
  };
  for (const [name, handle] of Object.entries(handlers)) {
    source.addEventListener(name, (event) => {
      connected(true);
      handle(JSON.parse(event.data), source);
    });
  }
}

// again follows once more, or, where one is no longer signed in, has the page show
// that.
async function again(url, handlers) {
  const response = await fetch("/api/status").catch(() => null);
  if (response?.status === 401) location.reload();
  else follow(url, handlers);
}

let lost; // when nothing came again for a while

function connected(yes) {
  clearTimeout(lost);
  if (!yes && !document.body.classList.contains("lost")) lost = setTimeout(() => say(false), 5000);
  else say(yes);
}

function say(yes) {
  document.body.classList.toggle("lost", !yes);
  const text = yes ? "live" : "connection lost, retrying";
  if (pulse && pulse.textContent !== text) pulse.textContent = text;
}

// elements makes the elements that a piece of HTML is.
export function elements(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return [...template.content.children];
}

// morph makes the element `from` like `to`.
export function morph(from, to) {
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name)) from.removeAttribute(name);
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  let at = from.firstChild;
  for (const want of [...to.childNodes]) {
    const have = at;
    if (have && have.nodeName === want.nodeName) {
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

// replace makes what an element holds like a piece of HTML.
export function replace(holder, html) {
  const [fresh] = elements(html);
  setClock(fresh);
  if (holder.firstElementChild) morph(holder.firstElementChild, fresh);
  else holder.append(fresh);
  age(holder);
}

// setClock goes by the relay's clock, which what comes from it shows to the ten
// seconds. Either clock may be set while a page is open.
function setClock({ dataset }) {
  const difference = Number(dataset.now) - Date.now();
  offset = Math.abs(difference) > 20000 ? difference : 0;
}

function ago(seconds) {
  if (seconds < 1.5) return "now";
  if (seconds < 90) return `${seconds.toFixed(0)} s ago`;
  if (seconds < 90 * 60) return `${(seconds / 60).toFixed(0)} min ago`;
  if (seconds < 36 * 3600) return `${(seconds / 3600).toFixed(0)} h ago`;
  return `${(seconds / 86400).toFixed(0)} days ago`;
}

// age writes how long ago things were.
export function age(root) {
  const now = Date.now() + offset;
  for (const time of root.querySelectorAll("time[data-seen]")) {
    const text = ago((now - Number(time.dataset.seen)) / 1000);
    if (time.textContent !== text) time.textContent = text;
  }
}

document.querySelectorAll("[data-now]").forEach(setClock);
setInterval(() => { if (!document.hidden) age(document); }, 1000);
age(document);
