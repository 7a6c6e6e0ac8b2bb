// What the console does beyond plain pages: times in the reader's zone, rows that come in live, pages that look again,
// the wildcard that replaces the other event types, and copying. Every page works without it.
"use strict";

(() => {
  const zone = new Intl.DateTimeFormat(undefined, {
    year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
  });

  // The instant in UTC stays in the title, to be seen on hover.
  function localize(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const instant = new Date(time.dateTime);
      if (!Number.isNaN(instant.getTime())) time.textContent = zone.format(instant);
    }
  }

  // A row of a table, from the server's own markup.
  function rowOf(markup) {
    const template = document.createElement("template");
    template.innerHTML = markup;
    return template.content.querySelector("tr");
  }

  function watch(part) {
    const body = part.querySelector("tbody");
    const limit = Number(part.dataset.liveRows || 50);
    const state = document.querySelector("[data-live-state]");
    const say = (text) => {
      if (!state) return;
      state.hidden = false;
      if (state.textContent !== text) state.textContent = text;
    };
    const source = new EventSource(part.dataset.live);
    source.addEventListener("begun", () => say("Live: changes appear by themselves"));
    source.addEventListener("error", () => say("Not live now; trying again"));
    source.addEventListener("delivery", (event) => {
      const row = rowOf(event.data);
      if (!row) return;
      localize(row);
      const known = document.getElementById(row.id);
      if (known && body.contains(known)) {
        known.replaceWith(row);
      } else {
        body.prepend(row);
        while (body.rows.length > limit) body.rows[body.rows.length - 1].remove();
      }
      row.classList.add("fresh");
      part.classList.remove("nothing");
      part.querySelector("[data-empty]")?.remove();
    });
    window.addEventListener("pagehide", () => source.close());
  }

  // Looks again until the server says that nothing more happens; less often the longer it takes.
  function refresh(part) {
    let wait = Number(part.dataset.refresh) * 1000;
    const look = async () => {
      if (document.hidden || part.contains(document.activeElement)) return void setTimeout(look, wait);
      try {
        const answer = await fetch(location.href, { headers: { accept: "text/html" } });
        if (answer.ok && !answer.redirected) {
          const page = new DOMParser().parseFromString(await answer.text(), "text/html");
          const fresh = page.getElementById(part.id);
          if (fresh) {
            if (fresh.innerHTML !== part.dataset.markup) {
              part.dataset.markup = fresh.innerHTML;
              const open = [...part.querySelectorAll("details")].map((details) => details.open);
              part.replaceChildren(...fresh.childNodes);
              part.querySelectorAll("details").forEach((details, index) => { details.open = open[index] ?? details.open; });
              localize(part);
              enableCopying(part);
            }
            if (!fresh.hasAttribute("data-refresh")) return;
          }
        }
      } catch {
        // The server may be restarting; it is asked again.
      }
      wait = Math.min(wait * 1.3, 15000);
      setTimeout(look, wait);
    };
    setTimeout(look, wait);
  }

  function wildcard(fieldset) {
    const all = fieldset.querySelector('input[value="*"]');
    const others = [...fieldset.querySelectorAll('input[name="event"]')].filter((input) => input !== all);
    const show = () => {
      for (const other of others) {
        if (all.checked && !other.disabled) other.dataset.was = other.checked ? "yes" : "";
        if (all.checked) other.checked = false;
        else if (other.disabled) other.checked = other.dataset.was === "yes";
        other.disabled = all.checked;
      }
    };
    all.addEventListener("change", show);
    show();
  }

  function enableCopying(root) {
    if (!navigator.clipboard) return;
    for (const button of root.querySelectorAll("[data-copy]")) {
      button.hidden = false;
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
        button.textContent = "Copied";
      });
    }
  }

  localize(document);
  enableCopying(document);
  document.querySelectorAll("[data-live]").forEach(watch);
  document.querySelectorAll("[data-refresh]").forEach(refresh);
  document.querySelectorAll("[data-events]").forEach(wildcard);
  // A page that shows a secret answers a form: its own address is the one to load again.
  const address = document.querySelector("[data-address]");
  if (address) history.replaceState(null, "", address.dataset.address);
})();
