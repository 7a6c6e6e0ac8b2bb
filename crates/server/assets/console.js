// Enhancements of the console's pages: times in the reader's zone, countdowns, live rows, refreshed parts, the wildcard event type,
// copy buttons, and new nonces for forms of pages from the browser's history. Every page works without it.
import { countDown, localFields } from "./times.js";
import { prepare, wildcard } from "./forms.js";
import { refresh } from "./refresh.js";
import { watch } from "./live.js";

// A page that shows the errors of a form has the form's address: restore the page's own address for reloads.
const { address } = document.getElementById("main").dataset;
if (address) history.replaceState(null, "", address);

prepare(document);
localFields(document);
countDown();
document.querySelectorAll("[data-events]").forEach(wildcard);
document.querySelectorAll("[data-live]").forEach(watch);
if (document.querySelector("[data-refresh]")) refresh();
