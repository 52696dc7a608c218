// Keeps an open page current. Without it the page is whole, only older: nothing here makes content.
"use strict";
(() => {
  const RETRY = 30000; // after the server had no room, or was away for long
  const DEAF = 45000; // three beats without a word
  const indicator = document.getElementById("live");
  const said = document.getElementById("said");
  const page = document.getElementById("page");
  let clock = clockOf(page);
  let stream = null;
  let deaf = 0;
  let due = 0;
  let asked = 0;
  let cost = 0;
  let busy = false;
  let again = false;

  document.documentElement.classList.add("js");

  // -- time: what the server calls now, carried on by this machine's clock

  function clockOf(from) {
    return { server: Number(from.dataset.now) * 1000, here: performance.now() };
  }

  function now() {
    return clock.server + performance.now() - clock.here;
  }

  function span(seconds) {
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
      if (seconds >= size) return `${Math.floor(seconds / size).toLocaleString("en")} ${unit}`;
    }
    return `${Math.floor(seconds)} s`;
  }

  function relative(seconds) {
    if (Math.abs(seconds) < 1) return "now";
    return seconds > 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
  }

  function tell() {
    for (const time of page.querySelectorAll("time[data-as]")) {
      const seconds = (now() - Date.parse(time.dateTime)) / 1000;
      const text = time.dataset.as === "span" ? span(seconds) : relative(seconds);
      if (time.textContent !== text) time.textContent = text;
    }
  }

  // -- making the page what a newer one is, without touching what is equal: focus, open details and typed text stay

  function become(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    if (old.hasAttribute("data-keep") || old.isEqualNode(fresh)) return;
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    if (old.id === "q" && old !== document.activeElement) old.value = fresh.getAttribute("value");
    becomeInside(old, fresh);
  }

  function becomeInside(old, fresh) {
    const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
    let at = old.firstChild;
    for (const next of [...fresh.childNodes]) {
      const match = next.id ? known.get(next.id) : at && !at.id && at.nodeName === next.nodeName ? at : null;
      if (match && match.nodeName === next.nodeName) {
        if (match === at) at = at.nextSibling;
        else old.insertBefore(match, at);
        become(match, next);
      } else {
        old.insertBefore(document.importNode(next, true), at);
      }
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  }

  function show(fresh) {
    const other = fresh.getElementById("page");
    if (!other || other.dataset.build !== page.dataset.build) return location.reload();
    const title = () => document.getElementById("headline")?.textContent;
    const before = title();
    const focused = document.activeElement;
    become(page, other);
    if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    document.title = fresh.title;
    document.getElementById("icon").href = fresh.getElementById("icon").href;
    clock = clockOf(page);
    tell();
    if (title() !== before) said.textContent = title();
  }

  // -- asking for a newer page: one at a time, and the dearer it is, the less often

  async function ask(address) {
    const mine = ++asked;
    const began = performance.now();
    clearTimeout(due);
    due = 0;
    busy = true;
    try {
      const answer = await fetch(address, { cache: "no-store" });
      const text = await answer.text();
      if (mine !== asked) return;
      if (answer.status === 401) return location.reload();
      if (answer.headers.get("Content-Type")?.startsWith("text/html")) {
        show(new DOMParser().parseFromString(text, "text/html"));
      }
      cost = performance.now() - began;
    } catch {
      say("off", "Connection lost");
    } finally {
      if (mine === asked) busy = false;
    }
    if (again && !busy) askSoon();
  }

  function askSoon() {
    again = busy;
    if (!busy) due ||= setTimeout(() => ask(location.href), Math.min(10000, 10 * cost));
  }

  function go(address, replace) {
    history[replace ? "replaceState" : "pushState"](null, "", address);
    ask(address);
  }

  // -- hearing that there is news

  function say(state, text) {
    indicator.className = `live ${state}`;
    indicator.querySelector(".word").textContent = text;
  }

  function alive() {
    say("on", "Live");
    clearTimeout(deaf);
    deaf = setTimeout(listen, DEAF);
  }

  function hush() {
    clearTimeout(deaf);
    stream?.close();
    stream = null;
  }

  function listen() {
    hush();
    stream = new EventSource("/events");
    stream.addEventListener("version", (event) => {
      alive();
      if (event.data !== page.dataset.stamp) askSoon();
    });
    stream.addEventListener("beat", alive);
    stream.addEventListener("error", () => {
      say("off", "Connection lost, trying again");
      if (stream?.readyState === EventSource.CLOSED) deaf = setTimeout(listen, RETRY);
    });
  }

  // -- people

  async function copy(button) {
    const code = button.parentElement.querySelector("code");
    let done = "Copied";
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      getSelection().selectAllChildren(code); // no clipboard without TLS: the keys for copying do the rest
      done = "Selected";
    }
    said.textContent = button.textContent = done;
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".copy");
    if (button) return void copy(button);
    const link = event.target.closest("a[data-soft]");
    if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(link.href);
  });

  function filtered(form) {
    const pairs = [...new FormData(form)].filter(([, value]) => value);
    return pairs.length ? `/?${new URLSearchParams(pairs)}` : "/";
  }

  let typing = 0;
  document.addEventListener("input", (event) => {
    if (event.target.id !== "q") return;
    clearTimeout(typing);
    typing = setTimeout(() => go(filtered(event.target.form), true), 200);
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches(".filter")) return;
    event.preventDefault();
    clearTimeout(typing);
    go(filtered(event.target));
  });
  addEventListener("popstate", () => ask(location.href));
  // A page that nobody sees holds no connection: browsers have few of them for one server.
  document.addEventListener("visibilitychange", () => (document.hidden ? hush() : listen()));

  setInterval(tell, 1000);
  tell();
  if (!document.hidden) listen();
})();
