// What the console does beyond plain pages: times in the reader's zone and counted down to, rows that come in live, pages that
// keep themselves up to date, the wildcard that replaces the other event types, copying, and forms that are sent anew from a
// page that is gone back to. Every page works without it.
import { countDown, localFields } from "./times.js";
import { prepare, wildcard } from "./forms.js";
import { refresh } from "./refresh.js";
import { watch } from "./live.js";

// A page that shows what is wrong with a form in it has the form's address: its own is the one to load again.
const { address } = document.getElementById("main").dataset;
if (address) history.replaceState(null, "", address);

prepare(document);
localFields(document);
countDown();
document.querySelectorAll("[data-events]").forEach(wildcard);
document.querySelectorAll("[data-live]").forEach(watch);
if (document.querySelector("[data-refresh]")) refresh();
