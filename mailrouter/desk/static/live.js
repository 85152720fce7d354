// What happens while the page is open: counters, who has what, and word of new cases. Nothing on the page jumps;
// what is new waits behind a button. Without this file the page shows the same after a reload.
"use strict";

(() => {
  const address = document.body.dataset.live;
  const place = document.querySelector("[data-news]");
  if (!address || !place || !window.EventSource) return;

  function say(text) {
    if (place.dataset.said === text) return;
    place.dataset.said = text;
    const words = document.createElement("span");
    words.textContent = text;
    const again = document.createElement("a");
    again.className = "button";
    again.href = location.pathname + location.search.replace(/([?&])klart=[^&]*&?/, "$1");
    again.textContent = place.dataset.show;
    place.replaceChildren(words, " ", again);
  }

  function take(news) {
    for (const [tray, count] of Object.entries(news.counts)) {
      const figure = document.querySelector(`[data-count="${tray}"]`);
      if (figure && figure.textContent !== count) figure.textContent = count;
    }
    for (const row of document.querySelectorAll("[data-holder]")) {
      const text = news.holders[row.dataset.holder] ?? "";
      if (row.textContent !== text) row.textContent = text;
    }
    const ofCase = news.decided || ("held" in place.dataset ? "" : news.held);
    const isCase = address.includes("arende=");
    if (isCase ? ofCase : news.fresh) say(isCase ? ofCase : news.fresh);
  }

  // A hidden page listens to nothing: browsers allow few connections to one server, and somebody may have many pages.
  let stream = null;
  function listen() {
    if (document.hidden) {
      stream?.close();
      stream = null;
    } else if (!stream) {
      stream = new EventSource(address);
      stream.addEventListener("nytt", (event) => take(JSON.parse(event.data)));
    }
  }
  document.addEventListener("visibilitychange", listen);
  window.addEventListener("pageshow", listen);
  listen();

  // Whoever leaves a case lets others have it at once.
  const held = document.querySelector("form[action$='/bekrafta']");
  window.addEventListener("pagehide", () => {
    stream?.close();
    stream = null;
    if (!held) return;
    const said = new URLSearchParams();
    for (const name of ["csrf", "seen"]) said.set(name, held.elements[name].value);
    navigator.sendBeacon(held.action.replace(/bekrafta$/, "lamna"), said);
  });
})();
