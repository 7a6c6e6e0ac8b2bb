// Times in the reader's zone: those that are shown, those that are counted down to, and those that are typed.
import { mayMove } from "./following.js";

const formats = {
  full: new Intl.DateTimeFormat(undefined, {
    year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
  }),
  minute: new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" }),
};

// The instant in UTC stays in the title, to be seen on hover.
export function localize(root) {
  root.querySelectorAll("time[datetime]").forEach(show);
}

function show(time) {
  const instant = new Date(time.dateTime);
  if (Number.isNaN(instant.getTime())) return;
  const format = formats[time.dataset.show] ?? formats.full;
  const text = time.dataset.show === "until" ? until(instant) : format.format(instant);
  if (time.textContent !== text) time.textContent = text;
}

// How long it is until an instant, in the words of the server.
function until(instant) {
  const seconds = Math.ceil((instant.getTime() - Date.now()) / 1000);
  if (seconds <= 0) return "now";
  if (seconds < 120) return `in ${seconds} s`;
  if (seconds < 7_200) return `in ${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `in ${Math.floor(seconds / 3_600)} h`;
  return `in ${Math.floor(seconds / 86_400)} days`;
}

// Keeps up what is counted down, while the page may move and somebody sees it.
export function countDown() {
  setInterval(() => {
    if (mayMove()) document.querySelectorAll('time[data-show="until"]').forEach(show);
  }, 1_000);
}

// What a field for date and time holds for an instant, in the reader's zone.
function local(instant) {
  return new Date(instant.getTime() - instant.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

// Fields hold UTC as the server sends them. They are shown and taken in the reader's zone; what is sent is UTC again.
export function localFields(root) {
  for (const field of root.querySelectorAll("input[data-utc]")) {
    const sent = field.value;
    const instant = new Date(`${sent}Z`);
    if (!Number.isNaN(instant.getTime())) field.value = local(instant);
    const shown = field.value;
    const zone = root.querySelector(`label[for="${field.id}"] [data-zone]`);
    if (zone) zone.textContent = `(${Intl.DateTimeFormat().resolvedOptions().timeZone})`;
    field.form.addEventListener("formdata", ({ formData }) => {
      // What was left as it was is sent as it came: an hour that the clock shows twice stays the one that it is.
      if (field.value === shown) formData.set(field.name, sent);
      else if (field.value) formData.set(field.name, new Date(field.value).toISOString().slice(0, 19));
    });
  }
}
