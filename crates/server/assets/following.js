// Whether the page follows what happens: a line that says so, and a button that stops all that moves by itself.

// Goes with all that a page asks for by itself: that keeps nobody signed in.
export const FOLLOWS = { "hookwright-follows": "1" };

const line = document.querySelector("[data-following]");
const words = line?.querySelector("span");
const button = line?.querySelector("button");
// What follows something, and whether it can now.
const followers = new Map();
let isPaused = false;

function say(text) {
  line.hidden = false;
  // What is said again is not read out again.
  if (words.textContent !== text) words.textContent = text;
}

function show() {
  if (!line) return;
  button.hidden = false;
  button.textContent = isPaused ? "Go on" : "Pause";
  button.setAttribute("aria-label", isPaused ? "Go on with the changes" : "Pause the changes");
  if (isPaused) say("Paused: changes do not appear");
  else if ([...followers.values()].includes(false)) say("Not live now; trying again");
  else say("Live: changes appear by themselves");
}

// A follower goes on and stops as it is told. It begins at once, or as soon as somebody sees the page.
export function follow(follower) {
  followers.set(follower, true);
  show();
  if (!document.hidden) follower.go();
}

// Whether what moves by itself may.
export function mayMove() {
  return !isPaused && !document.hidden;
}

export function tell(follower, isLive) {
  if (!followers.has(follower)) return;
  followers.set(follower, isLive);
  show();
}

// Nothing more is to come.
export function end(follower) {
  followers.delete(follower);
  if (!line || followers.size > 0) return;
  if (line.contains(document.activeElement)) document.getElementById("main").focus({ preventScroll: true });
  line.hidden = true;
}

// Whether an answer says that the session is over: nothing but signing in is led to from a page that was there, and customers
// are told so.
export function isOver(answer) {
  return answer.type === "opaqueredirect" || answer.status === 401;
}

// Nothing can be followed without a session.
export function sessionIsOver() {
  const all = [...followers.keys()];
  followers.clear();
  all.forEach((follower) => follower.stop());
  if (!line) return;
  const focused = document.activeElement === button;
  button.hidden = true;
  if (location.pathname.startsWith("/portal/")) {
    say("Your time here is over: open this page again from the application that led you here");
    return;
  }
  say("Your session is over. ");
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

// A page that nobody sees holds no connection: browsers allow a server only a few.
function hideOrShow(isHidden) {
  for (const follower of [...followers.keys()]) {
    if (isHidden) follower.stop();
    else if (!isPaused) follower.go();
  }
}
document.addEventListener("visibilitychange", () => hideOrShow(document.hidden));
window.addEventListener("pagehide", () => hideOrShow(true));
window.addEventListener("pageshow", (event) => { if (event.persisted) hideOrShow(document.hidden); });
