import { ApiError, fetchDevelopment } from './api.js';
import { showCommands } from './commands.js';
import { Demo } from './demo.js';
import { logRow, milliseconds } from './log.js';
import { appendText, clearText } from './text.js';

const SAMPLE =
  'A river that meets the sea runs both ways, and a tideway is where it does. This text is published one word at a ' +
  'time, ten words a second, and every word passes the edge on its way in and again on its way out. Cut the ' +
  'connection while it runs: the words go on, nobody listens, and when the listener comes back it names the last id ' +
  'that it saw and is given everything since, in order, each word once. Then let a second listener join, as late as ' +
  'you like, and it will read the same story from the first word to the last.';

/** What `live` means for the latency: a listener that has just come back is handed what it missed. */
const CAUGHT_UP_AFTER_MS = 500;

const text = /** @type {HTMLTextAreaElement} */ (byId('text'));
const endAfter = /** @type {HTMLInputElement} */ (byId('end-after'));
const start = button('start');
const more = button('more');
const end = button('end');
const cut = button('cut');
const join = button('join');

/** @type {import('./api.js').Development | undefined} */
let development;
/** @type {Demo | undefined} */
let demo;
let publishing = false;
let cutNow = false;

text.value = SAMPLE;
start.addEventListener('click', () => void onStart());
more.addEventListener('click', () => void (demo && publishAll(demo, { begin: false, end: endAfter.checked })));
end.addEventListener('click', () => void (demo && publishAll(demo, { begin: false, end: true, words: '' })));
cut.addEventListener('click', () => demo?.listener?.cut());
join.addEventListener('click', onJoin);
addEventListener('pagehide', () => demo?.close());
// Back from another page the browser may show this one as it was left: with a stream that has been closed.
addEventListener('pageshow', (event) => event.persisted && location.reload());
await prepare();

async function prepare() {
  try {
    development = await fetchDevelopment();
    start.disabled = false;
  } catch (error) {
    const elsewhere = error instanceof ApiError && error.status === 404;
    showProblem(
      elsewhere ? new Error('This page works on the machine that runs "npm start", opened as localhost.') : error,
    );
  }
}

async function onStart() {
  if (!development) return;
  demo?.close();
  demo = undefined;
  clear();
  showButtons();
  start.disabled = true;
  try {
    demo = await Demo.start(development);
  } catch (error) {
    showProblem(error);
    start.disabled = false;
    return;
  }
  byId('channel').textContent = demo.access.channel_id;
  showCommands(byId('commands'), development, demo.access);
  byId('terminal').hidden = false;
  log('page', `started a stream in organization ${demo.orgId}`);
  demo.listen(listenerHandlers(demo));
  await publishAll(demo, { begin: true, end: endAfter.checked });
}

/**
 * @param {Demo} run
 * @param {{ begin: boolean, end: boolean, words?: string }} what
 */
async function publishAll(run, { begin, end: withEnd, words = text.value }) {
  publishing = true;
  showButtons();
  /** @param {ApiError} error */
  const onRetry = (error) => log('publisher', `${error.message} Trying again.`, 'trouble');
  const show = setInterval(() => showPublished(run), 100);
  try {
    if (begin) await run.publisher.publish('PHASE_START', undefined, onRetry);
    byId('phase').textContent = begin ? 'START' : 'DELTA';
    await run.publishText(words, onRetry);
    if (withEnd) {
      run.sealed = true;
      await run.publisher.publish('PHASE_END', undefined, onRetry);
    }
    byId('phase').textContent = withEnd ? 'END' : 'DELTA';
  } catch (error) {
    if (!run.publisher.stopped) showProblem(error);
  } finally {
    clearInterval(show);
    if (run === demo) {
      publishing = false;
      showPublished(run);
      showButtons();
    }
  }
}

/**
 * @param {Demo} run
 * @returns {import('./listener.js').Handlers}
 */
function listenerHandlers(run) {
  const stream = byId('listener-text');
  let liveFromMs = 0;
  return {
    onState(state, what) {
      cutNow = state === 'cut';
      if (state === 'open') liveFromMs = run.listener?.resumed ? performance.now() + CAUGHT_UP_AFTER_MS : 0;
      showState('listener-state', state);
      byId('resumed').textContent = String(run.listener?.resumed ?? 0);
      log('listener', what, state === 'failed' ? 'trouble' : 'state');
      showButtons();
    },
    onMessage(message, id) {
      const latencyMs = run.tally.receive(message.message_id, performance.now() >= liveFromMs);
      appendPayload(stream, message);
      byId('received').textContent = String(run.tally.received + run.tally.foreign);
      byId('last-id').textContent = id;
      const median = run.tally.medianLatencyMs;
      byId('latency').textContent = median === undefined ? '–' : milliseconds(median);
      logMessage('listener', message, id, latencyMs);
      showVerdict(run);
      join.disabled = false;
    },
    onControl(type, what, id) {
      run.hasLost ||= ['gap', 'expired', 'reset'].includes(type);
      log('listener', `${type}: ${what}`, 'trouble', id);
      showVerdict(run);
    },
  };
}

function onJoin() {
  const run = demo;
  if (!run) return;
  const stream = byId('late-text');
  clearText(stream);
  run.joinLate({
    onState(state, what) {
      showState('late-state', state);
      log('late listener', what);
    },
    onMessage: (message) => appendPayload(stream, message),
    onControl: (type, what, id) => log('late listener', `${type}: ${what}`, 'trouble', id),
  });
}

/**
 * @param {HTMLElement} stream
 * @param {import('./listener.js').StreamMessage} message
 */
function appendPayload(stream, { payload }) {
  if (payload === null || typeof payload !== 'object') return;
  appendText(
    stream,
    'text' in payload && typeof payload.text === 'string' ? payload.text : `${JSON.stringify(payload)}\n`,
  );
}

/**
 * @param {string} where
 * @param {import('./listener.js').StreamMessage} message
 * @param {string} id
 * @param {number | undefined} latencyMs
 */
function logMessage(where, message, id, latencyMs) {
  const said = message.payload === null ? '' : ` ${JSON.stringify(message.payload)}`;
  const what = `${message.phase.replace('PHASE_', '')} ${message.sequence}${said.slice(0, 80)}`;
  logRow(byId('log'), { where, what, kind: 'message', id, latencyMs });
}

/**
 * @param {string} where
 * @param {string} what
 * @param {'state' | 'trouble'} [kind]
 * @param {string} [id]
 */
function log(where, what, kind = 'state', id = '') {
  logRow(byId('log'), { where, what, kind, id });
}

/** @param {Demo} run */
function showPublished(run) {
  if (run !== demo) return;
  const sent = run.publisher.acknowledged;
  byId('published').textContent = String(sent.length);
  const last = sent.at(-1);
  if (last) byId('phase').textContent = last.phase.replace('PHASE_', '');
  showVerdict(run);
}

/** @param {Demo} run */
function showVerdict(run) {
  const { kind, text: words } = run.verdict();
  const verdict = byId('verdict');
  verdict.dataset['verdict'] = kind;
  if (verdict.textContent !== words) verdict.textContent = words;
}

function showButtons() {
  start.disabled = publishing;
  more.disabled = end.disabled = publishing || !demo || demo.sealed;
  cut.disabled = cutNow || !demo || byId('listener-state').dataset['state'] !== 'open';
}

/**
 * @param {string} id
 * @param {import('./listener.js').State} state
 */
function showState(id, state) {
  const shown = byId(id);
  shown.dataset['state'] = state;
  shown.textContent = { open: 'connected', cut: 'cut', stopping: 'ending', failed: 'gave up' }[String(state)] ?? state;
}

function clear() {
  byId('problem').hidden = true;
  for (const id of ['listener-text', 'late-text']) clearText(byId(id));
  byId('log').textContent = '';
  for (const id of ['published', 'received', 'resumed']) byId(id).textContent = '0';
  for (const id of ['phase', 'latency', 'last-id']) byId(id).textContent = '–';
  for (const id of ['listener-state', 'late-state']) {
    byId(id).dataset['state'] = 'idle';
    byId(id).textContent = 'not connected';
  }
  byId('channel').textContent = 'none yet';
  byId('verdict').dataset['verdict'] = 'none';
  byId('verdict').textContent = 'Nothing published yet.';
  byId('terminal').hidden = true;
  join.disabled = true;
}

/** @param {unknown} error */
function showProblem(error) {
  const problem = byId('problem');
  problem.textContent = error instanceof Error ? error.message : String(error);
  problem.hidden = false;
  log('page', problem.textContent, 'trouble');
}

/** @param {string} id */
function button(id) {
  return /** @type {HTMLButtonElement} */ (byId(id));
}

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`The page has no #${id}.`);
  return found;
}
