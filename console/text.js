/** What has come for an element and is not shown yet. @type {Map<HTMLElement, string>} */
const waiting = new Map();

/**
 * Appends text to an element and keeps its end in view, for whoever is there. What comes within a frame is laid out once:
 * a layout a message, of all that came before, would hold up the page for minutes where thousands come at once.
 *
 * @param {HTMLElement} element
 * @param {string} text
 */
export function appendText(element, text) {
  if (waiting.size === 0) requestAnimationFrame(show);
  waiting.set(element, (waiting.get(element) ?? '') + text);
}

/** @param {HTMLElement} element */
export function clearText(element) {
  element.textContent = '';
  if (waiting.has(element)) waiting.set(element, '');
}

function show() {
  for (const [element, text] of waiting) {
    const isFollowing = element.scrollHeight - element.scrollTop - element.clientHeight < 40;
    element.append(text);
    if (isFollowing) element.scrollTop = element.scrollHeight;
  }
  waiting.clear();
}
