// The little that is needed instead of a framework. Text only ever becomes text: nothing here parses HTML.

export const $ = (id) => document.getElementById(id);

const svgTags = new Set(['svg', 'rect', 'line', 'text', 'title']);

// el makes an element: el('td', {class: 'number'}, 'text', child).
export function el(tag, attributes = {}, ...children) {
  const node = svgTags.has(tag) ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  set(node, attributes);
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
}

// set changes attributes; those that are false, null or undefined go away. Functions become listeners.
export function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') node.addEventListener(name, value);
    else if (value === false || value === null || value === undefined) node.removeAttribute(name);
    else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value === true ? '' : value);
  }
}

// text changes what is said, and touches nothing where it is said already: a screen reader then has nothing to repeat.
export function text(node, words) {
  if (node.textContent !== words) node.textContent = words;
}

// list keeps a child for each item. A child whose item is still there stays the same node, so that it keeps the focus.
export function list(parent, items, key, make, update) {
  const old = new Map([...parent.children].map((c) => [c.dataset.key, c]));
  let before = null; // the child that comes next, from the end
  for (const item of items.toReversed()) {
    const k = String(key(item));
    let child = old.get(k);
    if (child) old.delete(k);
    else {
      child = make(item);
      child.dataset.key = k;
    }
    update(child, item);
    if (child.parentNode !== parent || child.nextElementSibling !== before) parent.insertBefore(child, before);
    before = child;
  }
  for (const gone of old.values()) gone.remove();
}

export const show = (node, yes) => { if (node.hidden === yes) node.hidden = !yes; };
