// Makes a part of the page like what the server sends now. What is the same stays as it is, and with it the focus, what is
// selected, and what screen readers have read.

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
  // Whether details are open is the reader's.
  const ours = (name) => name === "open" && current.localName === "details";
  for (const { name, value } of fresh.attributes) {
    if (!ours(name) && current.getAttribute(name) !== value) current.setAttribute(name, value);
  }
  for (const { name } of [...current.attributes]) {
    if (!ours(name) && !fresh.hasAttribute(name)) current.removeAttribute(name);
  }
}

// Children that have an id are known by it, others by where they stand.
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
      // Moving it would take the focus from it: rather make anew what stands before it.
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

// Gives back what comes after it.
function remove(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}
