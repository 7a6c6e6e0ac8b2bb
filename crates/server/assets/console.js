// What the console does beyond plain pages: times in the reader's zone, rows that come in live, pages that keep themselves up
// to date, the wildcard that replaces the other event types, and copying. Every page works without it.
import { localFields } from "./times.js";
import { prepare, wildcard } from "./forms.js";
import { refresh } from "./refresh.js";
import { watch } from "./live.js";

prepare(document);
localFields(document);
document.querySelectorAll("[data-events]").forEach(wildcard);
document.querySelectorAll("[data-live]").forEach(watch);
if (document.querySelector("[data-refresh]")) refresh();
// A page that shows a secret answers a form: its own address is the one to load again.
const address = document.querySelector("[data-address]");
if (address) history.replaceState(null, "", address.dataset.address);
