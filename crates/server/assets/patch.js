// Updates a part of the page to new markup. Unchanged nodes stay, and with them focus, selection and what screen readers have
// read.

export function patch(current, fresh) {
  if (current.isEqualNode(fresh)) return;
  if (current.nodeType !== Node.ELEMENT_NODE) {
    current.nodeValue = fresh.nodeValue;
    return;
  }
  if (current.hasAttribute("data-keep")) return;
  patchAttributes(current, fresh);
  patchChildren(current, fresh);
}

function patchAttributes(current, fresh) {
  // The reader decides whether details are open.
  const ours = (name) => name === "open" && current.localName === "details";
  for (const { name, value } of fresh.attributes) {
    if (!ours(name) && current.getAttribute(name) !== value) current.setAttribute(name, value);
  }
  for (const { name } of [...current.attributes]) {
    if (!ours(name) && !fresh.hasAttribute(name)) current.removeAttribute(name);
  }
}

// Matches children by id, or by position if they have none.
function patchChildren(current, fresh) {
  const ids = new Set([...fresh.children].map((child) => child.id));
  for (const child of [...current.children]) {
    if (child.id && !ids.has(child.id)) child.remove();
  }
  let at = current.firstChild;
  for (const node of [...fresh.childNodes]) {
    let known = at;
    if (node.id) {
      known = [...current.children].find((child) => child.id === node.id);
      // Moving it would take its focus: remove the nodes before it instead.
      while (known && at && at !== known && !at.id) at = remove(at);
    }
    if (known?.nodeName !== node.nodeName || known.id !== node.id) {
      current.insertBefore(node, at);
    } else {
      if (known === at) at = at.nextSibling;
      else current.insertBefore(known, at);
      patch(known, node);
    }
  }
  while (at) at = remove(at);
}

// Removes a node and returns the next one.
function remove(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}
