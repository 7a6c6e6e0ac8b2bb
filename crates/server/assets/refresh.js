// Refreshes parts of a page until the server marks them as final.
import { end, follow, FOLLOWS, isOver, sessionIsOver, tell } from "./following.js";
import { patch } from "./patch.js";
import { prepare } from "./forms.js";

const LONGEST_MS = 15_000;
const DEADLINE_MS = 10_000;

// Loads the page and updates the given parts, by id.
export async function look(parts) {
  const asked = { headers: { accept: "text/html", ...FOLLOWS }, redirect: "manual", signal: AbortSignal.timeout(DEADLINE_MS) };
  const answer = await fetch(location.href, asked);
  if (isOver(answer)) return sessionIsOver();
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of parts) {
    const fresh = page.getElementById(part.id);
    if (!fresh) continue;
    prepare(fresh);
    patch(part, fresh);
  }
}

// Refreshes periodically, with a growing interval.
export function refresh() {
  const parts = () => [...document.querySelectorAll("[data-refresh]")];
  let wait = Math.min(...parts().map((part) => Number(part.dataset.refresh) * 1000));
  let timer = 0;
  let isOld = false;
  const follower = {
    // After a pause, refresh at once.
    go() {
      clearTimeout(timer);
      timer = setTimeout(again, isOld ? 0 : wait);
      isOld = false;
    },
    stop() {
      clearTimeout(timer);
      timer = 0;
      isOld = true;
    },
  };
  const again = async () => {
    const mine = timer;
    try {
      await look(parts());
      tell(follower, true);
    } catch {
      // The server may be restarting: try again.
      tell(follower, false);
    }
    if (parts().length === 0) return end(follower);
    wait = Math.min(wait * 1.3, LONGEST_MS);
    // Stopped in the meantime.
    if (timer === mine) follower.go();
  };
  follow(follower);
}
