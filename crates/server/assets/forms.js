// The wildcard that replaces the other event types, buttons that copy, and forms that are sent anew.
import { localize } from "./times.js";

// What is done to all that comes from the server before it is shown or compared with what is shown.
export function prepare(root) {
  localize(root);
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.setAttribute("aria-live", "polite");
  }
}

export function wildcard(fieldset) {
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

// What a form sends twice is done once. Whoever goes back to a page that the browser kept means to send it anew.
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const input of document.querySelectorAll('input[name="nonce"]')) {
    const bytes = crypto.getRandomValues(new Uint8Array(12));
    input.value = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    // Without TLS there is no clipboard, and a page that holds this one in a frame may not have allowed it.
    getSelection().selectAllChildren(code);
    button.textContent = "Selected: the browser lets only you copy it";
  }
});
