import { newUuid } from './publisher.js';

/**
 * Lines to paste into a terminal, for one channel.
 *
 * @param {HTMLElement} container
 * @param {import('./api.js').Development} development
 * @param {import('./api.js').Access} access
 */
export function showCommands(container, development, access) {
  const { channel_id: channel, token, url } = access;
  // The project's commands find out where from what is kept there.
  const { dataDir } = development;
  const run = `${dataDir === undefined ? '' : `TIDEWAY_DATA_DIR='${dataDir.replaceAll("'", "'\\''")}' `}npm run -s`;
  const listen = `${url}?token=${token}&channel_id=${channel}`;
  const publish = () => {
    // A new id for each copy: the same one would be stored once.
    const message = { org_id: development.orgId, channel_id: channel, message_id: newUuid(), phase: 'PHASE_DELTA' };
    const body = JSON.stringify({ ...message, sequence: '0', payload: { text: 'from curl ' } });
    return (
      `curl -sS ${location.origin}/v1/messages:publish -H 'Content-Type: application/json' ` +
      `-H 'Authorization: Bearer ${development.publishToken}' -d '${body}'`
    );
  };
  container.replaceChildren(
    command('Listen', () => `${run} listen -- --channel ${channel}`),
    command('Publish', () => `${run} publish -- --channel ${channel} "from a terminal "`),
    command('Listen with curl', () => `curl -sSN '${listen}'`),
    command('Publish with curl', publish),
  );
}

/**
 * @param {string} label
 * @param {() => string} line
 */
function command(label, line) {
  const row = element('div', 'command');
  const name = element('h3', '', label);
  const code = element('code', 'mono', line());
  code.tabIndex = 0;
  const copy = /** @type {HTMLButtonElement} */ (element('button', 'small', 'Copy'));
  copy.type = 'button';
  copy.setAttribute('aria-label', `Copy: ${label}`);
  copy.addEventListener('click', () => void onCopy(copy, code, line()));
  row.append(name, code, copy);
  return row;
}

/**
 * @param {HTMLButtonElement} button
 * @param {HTMLElement} code
 * @param {string} text
 */
async function onCopy(button, code, text) {
  code.textContent = text;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
  } catch {
    // No clipboard for pages that came over plain HTTP from another machine, or not allowed: select it for the reader.
    getSelection()?.selectAllChildren(code);
    button.textContent = 'Selected';
  }
  setTimeout(() => {
    button.textContent = 'Copy';
  }, 2_000);
}

/**
 * @param {string} tag
 * @param {string} className
 * @param {string} [text]
 */
function element(tag, className, text = '') {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}
