// The wildcard event type, copy buttons, and new nonces for forms of a page from the browser's history.
import { localize } from "./times.js";

// Prepares markup from the server before it is shown or compared with the page.
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

// The server processes a form with the same nonce once. A page from the browser's history gets new nonces, so that its forms
// can be submitted again.
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
    // The clipboard is unavailable without TLS, or in a frame whose page does not allow it.
    getSelection().selectAllChildren(code);
    button.textContent = "Selected: press Ctrl+C to copy";
  }
});
