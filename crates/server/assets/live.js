// Live rows of a list. The server sends the markup of each changed row, whether or not the row still matches the list's filter.
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
  // Lets a row be highlighted again.
  part.addEventListener("animationend", (event) => event.target.classList.remove("fresh"));
  let source = null;
  let timer = 0;
  let pause = PAUSE_MS;
  // The position to resume from. The page itself contains the first one.
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
        // The server no longer knows the changes since the page was rendered, so the page is loaded again.
        if (event.data === "anew") look([part, ...document.querySelectorAll("#pages")]).catch(() => {});
      });
      source.addEventListener("delivery", (event) => take(event, true));
      source.addEventListener("other", (event) => take(event, false));
      source.addEventListener("error", () => {
        tell(follower, false);
        // In other states the browser reconnects by itself.
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
  // The browser does not report the reason, so request the address once.
  const refused = async () => {
    const mine = source;
    const asked = { method: "HEAD", headers: FOLLOWS, redirect: "manual", signal: AbortSignal.timeout(pause) };
    const answer = await fetch(address(), asked).catch(() => null);
    if (answer && isOver(answer)) return sessionIsOver();
    // Stopped in the meantime.
    if (source !== mine) return;
    timer = setTimeout(follower.go, pause);
    pause = Math.min(pause * 2, PAUSE_MAX_MS);
  };
  follow(follower);
}

// A list in the order of ids, newest first.
function liveRows(part) {
  const body = part.querySelector("tbody");
  const limit = Number(part.dataset.liveRows);
  const older = document.querySelector("[data-older]");

  // Inserts a row if this page has a place for it, and returns whether it did.
  function insert(row) {
    const next = [...body.rows].find((known) => known.id < row.id);
    if (!next && (body.rows.length >= limit || older?.hidden === false)) return false;
    body.insertBefore(row, next ?? null);
    while (body.rows.length > limit) body.rows[body.rows.length - 1].remove();
    return true;
  }
  // Moves the link to the next page to the end of this one.
  function updateOlder() {
    if (!older || (older.hidden && body.rows.length < limit)) return;
    const url = new URL(older.href);
    url.searchParams.set("before", body.rows[body.rows.length - 1].dataset.before);
    older.href = url;
  }
  return {
    // A row on the page is updated even if it no longer matches the filter.
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
        updateOlder();
        part.classList.remove("nothing");
        part.querySelector("[data-empty]")?.remove();
      }
      (known ?? row).classList.add("fresh");
    },
  };
}
