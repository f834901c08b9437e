// Keeps the page current: when the node tells that something happened, the page is fetched again and its live parts are
// put in place. Without this script every page shows what was true when it was loaded.
"use strict";

const PAUSE_MS = 400;
const state = document.getElementById("live-state");
let isBusy = false;
let isDue = false;

async function refresh() {
  isDue = true;
  if (isBusy) return;
  isBusy = true;
  while (isDue) {
    isDue = false;
    try {
      const answer = await fetch(location.pathname + location.search, { cache: "no-store" });
      if (answer.status === 401) return location.reload();
      if (answer.ok) replaceLiveParts(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // The stream of events tells when the node is back.
    }
    await new Promise((done) => setTimeout(done, PAUSE_MS));
  }
  isBusy = false;
}

function replaceLiveParts(page) {
  for (const old of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(old.id);
    if (!fresh) continue;
    prepare(fresh);
    if (fresh.isEqualNode(old)) continue;
    const focused = old.contains(document.activeElement) ? document.activeElement.id : null;
    // Where the focus could not be given back, the person's place matters more than news.
    if (focused === "") continue;
    old.replaceWith(document.adoptNode(fresh));
    if (focused) document.getElementById(focused)?.focus();
  }
}

function prepare(part) {
  for (const button of part.querySelectorAll("[data-copy]")) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), 1500);
});

// A browser tells where text that is dropped points to, not where a folder lies. So a path or address goes into the
// field, and the person presses the button.
for (const field of document.querySelectorAll("[data-drop]")) {
  const hint = document.getElementById(field.getAttribute("aria-describedby"));
  const zone = field.closest("section");
  hint.hidden = false;
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const text = event.dataTransfer.getData("text/uri-list") || event.dataTransfer.getData("text/plain");
    const first = text.split(/\r?\n/).find((line) => line.trim() && !line.startsWith("#"));
    if (!first) {
      hint.textContent = "The browser does not say where that folder lies. Paste its path instead.";
      field.focus();
      return;
    }
    field.value = first.trim().startsWith("file://") ? decodePath(first.trim()) : first.trim();
    hint.textContent = "Taken. Press Share if this is the folder.";
    document.getElementById(field.dataset.drop).querySelector("button").focus();
  });
}

function decodePath(address) {
  try {
    return decodeURIComponent(new URL(address).pathname);
  } catch {
    return address;
  }
}

prepare(document);
if (state) {
  const events = new EventSource("/events");
  const show = (text, name) => {
    state.hidden = false;
    state.textContent = text;
    state.dataset.state = name;
  };
  events.addEventListener("open", () => {
    show("Live", "on");
    refresh();
  });
  events.addEventListener("message", refresh);
  events.addEventListener("error", () => show("Not connected", "off"));
}
