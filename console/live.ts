/** The one script there is: it brings a page that shows the present up to date when something has happened in the warehouse. */
import { REST } from "./limits.ts";
import { nameByHash } from "./style.ts";

/** Where a page is told of it, as server-sent events. */
export const EVENTS_PATH = "/events";
/** The event that tells a revision. */
export const REVISION_EVENT = "revision";

/**
 * A page is taken in place only where nobody is in the middle of something; else a link offers it. Many open pages do not ask at once, and
 * each rests for longer the longer its page takes. A tab that is not seen listens to nothing: a browser has six connections to a server.
 */
export const LIVE_SCRIPT = `"use strict";
const SPREAD_MS = 1500;
const REST_MS = 10000;
const REST = ${REST};
const AGAIN_MS = 60000;
const note = document.getElementById("live");
let events;
let newest;
let timer;
let restsUntil = 0;

const content = () => document.getElementById("content");
const isOld = () => newest !== content().dataset.revision;

function isChanged(field) {
  if (field instanceof HTMLSelectElement) {
    const chosen = [...field.options].findIndex((option) => option.defaultSelected);
    return field.selectedIndex !== Math.max(chosen, 0);
  }
  return field.value !== field.defaultValue;
}

function isInUse(main) {
  return main.contains(document.activeElement)
    || !getSelection().isCollapsed
    || main.querySelector("details[open]") !== null
    || [...main.querySelectorAll("input, select")].some(isChanged)
    || [...main.querySelectorAll(".scroll")].some((region) => region.scrollLeft > 0);
}

function say(text, link) {
  if (note.textContent.startsWith(text)) return;
  note.className = link === undefined ? "hidden" : "live";
  note.textContent = text;
  if (link !== undefined) note.append(" ", link);
}

function offer() {
  const link = document.createElement("a");
  link.href = location.href;
  link.textContent = "Show it";
  link.addEventListener("click", (event) => { event.preventDefault(); location.reload(); });
  say("Something has changed.", link);
}

async function fetchContent() {
  const began = performance.now();
  try {
    const response = await fetch(location.href);
    if (!response.ok) return undefined;
    return new DOMParser().parseFromString(await response.text(), "text/html").getElementById("content") ?? undefined;
  } catch {
    return undefined;
  } finally {
    const ended = performance.now();
    restsUntil = ended + Math.max(REST_MS, REST * (ended - began));
  }
}

async function update() {
  if (document.hidden || !isOld()) return;
  if (isInUse(content())) return offer();
  const fetched = await fetchContent();
  if (fetched === undefined) return;
  if (isInUse(content())) return offer();
  content().replaceWith(document.adoptNode(fetched));
  say("Brought up to date.");
}

function updateSoon() {
  timer ??= setTimeout(async () => {
    const asked = newest;
    await update();
    timer = undefined;
    if (newest !== asked) updateSoon();
  }, Math.max(restsUntil - performance.now(), Math.random() * SPREAD_MS));
}

function listen() {
  if (document.hidden) {
    events?.close();
    events = undefined;
    return;
  }
  if (events !== undefined) return;
  events = new EventSource("${EVENTS_PATH}");
  events.addEventListener("${REVISION_EVENT}", ({ data }) => { newest = data; updateSoon(); });
  events.addEventListener("error", ({ target }) => {
    // Else the browser comes again by itself.
    if (target.readyState !== EventSource.CLOSED || events !== target) return;
    events = undefined;
    setTimeout(listen, AGAIN_MS);
  });
}

document.addEventListener("visibilitychange", listen);
listen();
`;

export const LIVE_SCRIPT_PATH = nameByHash("live", LIVE_SCRIPT, "js");
