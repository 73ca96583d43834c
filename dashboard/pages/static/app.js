// The one script of the pages. Without it everything works by loading pages again. With it the parts of a page that change
// are replaced as the dashboard sends them, while somebody looks.
"use strict";
(() => {
  const lost = document.getElementById("lost");
  const full = document.getElementById("full");
  const live = document.body.dataset.live;
  const title = document.body.dataset.title;
  let source = null;
  let silence = 0; // timer that tells that the connection is lost
  let again = 0;

  // where describes the element that has the focus, so that it can be found in what takes its place.
  const where = (box) => {
    const at = document.activeElement;
    if (!at || !box.contains(at) || at === box) return null;
    const all = [...box.querySelectorAll("a,button,input,select,textarea,summary,[tabindex]")];
    return { id: at.id, index: all.indexOf(at), tag: at.tagName, text: at.textContent };
  };

  const refocus = (box, was) => {
    if (!was) return;
    const all = [...box.querySelectorAll("a,button,input,select,textarea,summary,[tabindex]")];
    const same = (e) => e && e.tagName === was.tag && e.textContent === was.text;
    const found = (was.id && document.getElementById(was.id)) || (same(all[was.index]) ? all[was.index] : all.find(same));
    if (found) found.focus({ preventScroll: true });
  };

  let pressed = null; // what the mouse or a finger is on: a button that is replaced meanwhile would lose its click

  // busy tells whether somebody types, chooses or presses in a part, or has marked text in it: it stays as it is then.
  const busy = (box) => {
    if (pressed && box.contains(pressed)) return true;
    const at = document.activeElement;
    if (at && box.contains(at) && /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName)) return true;
    const marked = document.getSelection();
    return Boolean(marked && !marked.isCollapsed && box.contains(marked.anchorNode));
  };

  const waiting = new Map(); // parts that came while somebody was busy in them

  const replace = (id, html) => {
    if (id === "title") {
      document.title = html;
      return;
    }
    const box = document.getElementById(id);
    if (!box) return;
    if (busy(box)) {
      waiting.set(id, html);
      return;
    }
    waiting.delete(id);
    const open = [...box.querySelectorAll("details[open][id]")].map((d) => d.id);
    const was = where(box);
    box.innerHTML = html;
    for (const d of open) {
      const same = document.getElementById(d);
      if (same) same.open = true;
    }
    refocus(box, was);
  };

  const connected = () => {
    clearTimeout(silence);
    silence = 0;
    if (lost) lost.hidden = true;
  };

  const gone = () => {
    if (!silence) silence = setTimeout(() => { if (lost) lost.hidden = false; }, 2500);
  };

  const stop = () => {
    clearTimeout(again);
    if (source) source.close();
    source = null;
  };

  const start = () => {
    stop();
    source = new EventSource(live);
    source.onopen = connected;
    // Too many follow already: it is asked again rarely, and not by all at once.
    source.addEventListener("full", (e) => {
      stop();
      connected();
      if (full) full.hidden = false;
      again = setTimeout(start, (Number(e.data) || 120000) * (1 + Math.random()));
    });
    source.onmessage = (e) => {
      connected();
      if (full) full.hidden = true;
      let parts;
      try {
        parts = JSON.parse(e.data);
      } catch {
        return; // the next one may be whole
      }
      // Boxes that hold others come first, so that what is inside isn't thrown away.
      const order = ["running"];
      for (const id of order) if (id in parts) replace(id, parts[id]);
      for (const id of Object.keys(parts)) if (!order.includes(id)) replace(id, parts[id]);
    };
    source.onerror = () => {
      gone();
      if (source && source.readyState === EventSource.CLOSED) again = setTimeout(start, 5000);
    };
  };

  if (live && "EventSource" in window) {
    let slow = 0;
    const look = () => {
      clearInterval(slow);
      if (!document.hidden) {
        start();
        return;
      }
      // A tab that nobody looks at holds no connection. Its title is asked for now and then, where it tells something.
      stop();
      clearTimeout(silence);
      silence = 0;
      if (title) slow = setInterval(() => {
        fetch(title, { credentials: "same-origin" }).then((r) => (r.ok && !r.redirected ? r.text() : null)).then((t) => { if (t) document.title = t; }).catch(() => {});
      }, 10000);
    };
    document.addEventListener("visibilitychange", look);
    window.addEventListener("pagehide", stop);
    window.addEventListener("pageshow", (e) => { if (e.persisted) look(); });
    // What was held back comes when nobody is busy any more: a field is left, or text is no longer marked.
    const flush = () => { for (const [id, html] of [...waiting]) replace(id, html); };
    let marking = 0;
    document.addEventListener("focusout", () => setTimeout(flush, 0));
    document.addEventListener("pointerdown", (e) => { pressed = e.target; });
    for (const end of ["pointerup", "pointercancel", "dragend"]) {
      document.addEventListener(end, () => setTimeout(() => { pressed = null; flush(); }, 0)); // after the click
    }
    document.addEventListener("selectionchange", () => {
      clearTimeout(marking); // there are many while somebody marks text
      if (waiting.size) marking = setTimeout(flush, 300);
    });
    look();
  }

  // Boxes that choose all others of a name. Without a script they would do nothing, so they are hidden then.
  for (const all of document.querySelectorAll("input[data-all]")) {
    const each = () => [...document.querySelectorAll(`input[type=checkbox][name="${all.dataset.all}"]`)];
    all.closest("[hidden]")?.removeAttribute("hidden");
    all.addEventListener("change", () => { for (const box of each()) box.checked = all.checked; });
    document.addEventListener("change", (e) => {
      if (e.target.name !== all.dataset.all) return;
      const on = each().filter((box) => box.checked).length;
      all.checked = on > 0 && on === each().length;
      all.indeterminate = on > 0 && !all.checked;
    });
  }

  // The notice of what was just done isn't said again when the page is loaded again.
  const here = new URL(location.href);
  if (here.searchParams.has("note")) {
    here.searchParams.delete("note");
    history.replaceState(null, "", here);
  }
})();
