// Rows of a list as they change: each is told by the server as its markup, whether it belongs to the list or no longer does.
import { follow, FOLLOWS, isOver, sessionIsOver, tell } from "./following.js";
import { localize } from "./times.js";
import { look } from "./refresh.js";
import { patch } from "./patch.js";

const PAUSE_MS = 2_000;
const PAUSE_MAX_MS = 60_000;

function rowOf(markup) {
  const template = document.createElement("template");
  template.innerHTML = markup;
  return template.content.querySelector("tr");
}

export function watch(part) {
  const rows = liveRows(part);
  // So that a row can light up again.
  part.addEventListener("animationend", (event) => event.target.classList.remove("fresh"));
  let source = null;
  let timer = 0;
  let pause = PAUSE_MS;
  // Where to go on from; the page knows where it was itself when it was made.
  let after = "";

  const address = () => {
    const url = new URL(part.dataset.live, location.href);
    if (after) url.searchParams.set("after", after);
    return url;
  };
  const follower = {
    go() {
      follower.stop();
      source = new EventSource(address());
      source.addEventListener("begun", (event) => {
        after = event.lastEventId;
        pause = PAUSE_MS;
        tell(follower, true);
        // What happened since the page was shown is no longer known: the page is.
        if (event.data === "anew") look([part, ...document.querySelectorAll("#pages")]).catch(() => {});
      });
      source.addEventListener("delivery", (event) => take(event, true));
      source.addEventListener("other", (event) => take(event, false));
      source.addEventListener("error", () => {
        tell(follower, false);
        // Otherwise the browser connects again.
        if (source?.readyState === EventSource.CLOSED) refused();
      });
    },
    stop() {
      clearTimeout(timer);
      source?.close();
      source = null;
    },
  };
  const take = (event, isListed) => {
    after = event.lastEventId;
    const row = rowOf(event.data);
    if (row) rows.take(row, isListed);
  };
  // The browser does not say why: ask.
  const refused = async () => {
    const mine = source;
    const asked = { method: "HEAD", headers: FOLLOWS, redirect: "manual", signal: AbortSignal.timeout(pause) };
    const answer = await fetch(address(), asked).catch(() => null);
    if (answer && isOver(answer)) return sessionIsOver();
    // Unless it was stopped meanwhile.
    if (source !== mine) return;
    timer = setTimeout(follower.go, pause);
    pause = Math.min(pause * 2, PAUSE_MAX_MS);
  };
  follow(follower);
}

// A list sorted newest first, which is the order of ids.
function liveRows(part) {
  const body = part.querySelector("tbody");
  const limit = Number(part.dataset.liveRows);
  const older = document.querySelector("[data-older]");

  // Whether there is a place for it on this page.
  function insert(row) {
    const next = [...body.rows].find((known) => known.id < row.id);
    if (!next && (body.rows.length >= limit || older?.hidden === false)) return false;
    body.insertBefore(row, next ?? null);
    while (body.rows.length > limit) body.rows[body.rows.length - 1].remove();
    return true;
  }
  // The next page begins where this one ends.
  function mendOlder() {
    if (!older || (older.hidden && body.rows.length < limit)) return;
    const url = new URL(older.href);
    url.searchParams.set("before", body.rows[body.rows.length - 1].dataset.before);
    older.href = url;
  }
  return {
    // What is on the page shows how it stands, even if the filter above would no longer choose it.
    take(row, isListed) {
      localize(row);
      const known = [...body.rows].find((known) => known.id === row.id);
      if (known) {
        patch(known, row);
      } else {
        if (!isListed) return;
        const isFull = body.rows.length >= limit;
        if (!insert(row)) return;
        if (older && isFull) older.hidden = false;
        mendOlder();
        part.classList.remove("nothing");
        part.querySelector("[data-empty]")?.remove();
      }
      (known ?? row).classList.add("fresh");
    },
  };
}
