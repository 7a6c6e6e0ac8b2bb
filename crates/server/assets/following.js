// The state of live updates: a status line, and a button that pauses all updates of the page.

// Marks requests that the page makes by itself: they do not extend the session.
export const FOLLOWS = { "hookwright-follows": "1" };

const line = document.querySelector("[data-following]");
const words = line?.querySelector("span");
const button = line?.querySelector("button");
// Followers, and whether each is connected.
const followers = new Map();
let isPaused = false;

function say(text) {
  line.hidden = false;
  // Screen readers do not repeat an unchanged text.
  if (words.textContent !== text) words.textContent = text;
}

function show() {
  if (!line) return;
  button.hidden = false;
  button.textContent = isPaused ? "Resume" : "Pause updates";
  button.setAttribute("aria-label", isPaused ? "Resume updates" : "Pause updates");
  if (isPaused) say("Updates paused");
  else if ([...followers.values()].includes(false)) say("Disconnected, reconnecting…");
  else say("● Live");
}

// Registers a follower, which can be stopped and resumed. It starts at once, or as soon as the page is visible.
export function follow(follower) {
  followers.set(follower, true);
  show();
  if (!document.hidden) follower.go();
}

// Whether updates may change the page.
export function mayMove() {
  return !isPaused && !document.hidden;
}

export function tell(follower, isLive) {
  if (!followers.has(follower)) return;
  followers.set(follower, isLive);
  show();
}

// Removes a follower that expects no more updates.
export function end(follower) {
  followers.delete(follower);
  if (!line || followers.size > 0) return;
  if (line.contains(document.activeElement)) document.getElementById("main").focus({ preventScroll: true });
  line.hidden = true;
}

// Whether an answer means that the session has ended: operators are redirected to the sign-in page, and customers get a 401.
export function isOver(answer) {
  return answer.type === "opaqueredirect" || answer.status === 401;
}

// Stops all followers, because they need a session.
export function sessionIsOver() {
  const all = [...followers.keys()];
  followers.clear();
  all.forEach((follower) => follower.stop());
  if (!line) return;
  const focused = document.activeElement === button;
  button.hidden = true;
  if (location.pathname.startsWith("/portal/")) {
    say("Your session expired: open this page again from your application");
    return;
  }
  say("Your session expired. ");
  const link = document.createElement("a");
  link.href = `/console/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`;
  link.textContent = "Sign in again";
  words.append(link);
  if (focused) link.focus();
}

button?.addEventListener("click", () => {
  isPaused = !isPaused;
  for (const follower of [...followers.keys()]) {
    if (isPaused) follower.stop();
    else follower.go();
  }
  show();
});

// A hidden page closes its connections, because browsers allow only a few per server.
function hideOrShow(isHidden) {
  for (const follower of [...followers.keys()]) {
    if (isHidden) follower.stop();
    else if (!isPaused) follower.go();
  }
}
document.addEventListener("visibilitychange", () => hideOrShow(document.hidden));
window.addEventListener("pagehide", () => hideOrShow(true));
window.addEventListener("pageshow", (event) => { if (event.persisted) hideOrShow(document.hidden); });
