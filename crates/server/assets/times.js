// Times in the reader's zone: shown times, countdowns, and input fields.
import { mayMove } from "./following.js";

const formats = {
  full: new Intl.DateTimeFormat(undefined, {
    year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
  }),
  minute: new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" }),
};

// Shows times in the reader's zone. The title keeps the UTC time for hover.
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

// The time until an instant, in the server's wording.
function until(instant) {
  const seconds = Math.ceil((instant.getTime() - Date.now()) / 1000);
  if (seconds <= 0) return "due now";
  if (seconds < 120) return `in ${seconds} s`;
  if (seconds < 7_200) return `in ${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `in ${Math.floor(seconds / 3_600)} h`;
  return `in ${Math.floor(seconds / 86_400)} days`;
}

// Updates countdowns while the page is visible and not paused.
export function countDown() {
  setInterval(() => {
    if (mayMove()) document.querySelectorAll('time[data-show="until"]').forEach(show);
  }, 1_000);
}

// The value of a date and time field for an instant, in the reader's zone.
function local(instant) {
  return new Date(instant.getTime() - instant.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

// Fields contain UTC as sent by the server. They show and accept the reader's zone, and submit UTC.
export function localFields(root) {
  for (const field of root.querySelectorAll("input[data-utc]")) {
    const sent = field.value;
    const instant = new Date(`${sent}Z`);
    if (!Number.isNaN(instant.getTime())) field.value = local(instant);
    const shown = field.value;
    const zone = root.querySelector(`label[for="${field.id}"] [data-zone]`);
    if (zone) zone.textContent = `(${Intl.DateTimeFormat().resolvedOptions().timeZone})`;
    field.form.addEventListener("formdata", ({ formData }) => {
      // An unchanged field submits its original value, because a local hour can occur twice.
      if (field.value === shown) formData.set(field.name, sent);
      else if (field.value) formData.set(field.name, new Date(field.value).toISOString().slice(0, 19));
    });
  }
}
