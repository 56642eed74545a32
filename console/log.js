const MAX_ROWS = 300;
/** By the clock of whoever looks on. */
const TIME = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
});

/**
 * Adds a row on top of the log of what happened.
 *
 * @param {HTMLElement} body
 * @param {{ where: string, what: string, kind?: 'message' | 'state' | 'trouble', id?: string, latencyMs?: number | undefined }} entry
 */
export function logRow(body, { where, what, kind = 'state', id = '', latencyMs }) {
  const row = document.createElement('tr');
  row.dataset['kind'] = kind;
  const time = TIME.format();
  for (const text of [time, where, what, id, latencyMs === undefined ? '' : milliseconds(latencyMs)]) {
    row.insertCell().textContent = text;
  }
  body.prepend(row);
  while (body.childElementCount > MAX_ROWS) body.lastElementChild?.remove();
}

/** @param {number} ms */
export function milliseconds(ms) {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}
