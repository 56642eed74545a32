import type { NewEvent } from '#lib/event-store/event-store.ts';
import { boundedText } from './bounded-text.ts';
import { fieldOf, firstLine, type JsonMap, listOf, mapOf, textOf } from './json-fields.ts';

/** What one searches and lists events by, taken from the event itself. Every text is bounded. */
export type EventColumns = Pick<
  NewEvent,
  | 'level'
  | 'title'
  | 'culprit'
  | 'platform'
  | 'release'
  | 'environment'
  | 'transaction'
  | 'user'
  | 'sdk'
  | 'timeMs'
  | 'searchText'
>;

const MAX_TITLE = 256;
const MAX_NAME = 200;
const MAX_SHORT = 64;
const MAX_SEARCH_TEXT = 4096;
/** The last one is what is caught; causes before it are words to look for. */
const MAX_EXCEPTIONS = 5;
const MAX_TIME_MS = 8.64e15;

export function columnsOf(event: JsonMap, receivedMs: number): EventColumns {
  const exceptions = listOf(event['exception']).slice(-MAX_EXCEPTIONS).map(mapOf);
  const message = messageOf(event);
  const transaction = textOf(event['transaction']);
  const type = textOf(event['type']);
  const user = mapOf(event['user']);
  const culprit = textOf(event['culprit']) || transaction || placeOf(exceptions.at(-1));
  const title = titleOf(event, type, exceptions.at(-1), message, transaction);
  const searched = [
    title,
    message,
    ...exceptions.flatMap((exception) => [textOf(exception['type']), textOf(exception['value'])]),
    culprit,
    transaction,
    ...['id', 'username', 'email', 'ip_address'].map((name) => textOf(user[name])),
  ];
  return {
    level: boundedText(textOf(event['level']), MAX_SHORT) || (type === 'transaction' ? 'info' : 'error'),
    title: boundedText(title, MAX_TITLE),
    culprit: boundedText(culprit, MAX_NAME),
    platform: boundedText(textOf(event['platform']), MAX_SHORT) || 'other',
    release: boundedText(textOf(event['release']), MAX_NAME),
    environment: boundedText(textOf(event['environment']), MAX_SHORT),
    transaction: boundedText(transaction, MAX_NAME),
    user: boundedText(userOf(user), MAX_NAME),
    sdk: boundedText(sdkOf(mapOf(event['sdk'])), MAX_NAME),
    timeMs: timeOf(event['timestamp']) ?? receivedMs,
    searchText: boundedText(searchTextOf(searched), MAX_SEARCH_TEXT),
  };
}

function titleOf(
  event: JsonMap,
  type: string,
  exception: JsonMap | undefined,
  message: string,
  transaction: string,
): string {
  if (type === 'transaction') return transaction || 'a transaction without a name';
  if (type === 'csp') return cspTitle(mapOf(event['csp'])) || firstLine(message) || 'a CSP report';
  if (exception !== undefined) {
    const kind = textOf(exception['type']);
    const value = firstLine(textOf(exception['value']));
    return kind && value ? `${kind}: ${value}` : kind || value || 'an exception without a name';
  }
  const feedback = textOf(fieldOf(event, 'contexts', 'feedback', 'message'));
  return firstLine(message) || firstLine(feedback) || 'an event without a message';
}

function cspTitle(csp: JsonMap): string {
  const directive = textOf(csp['effective_directive']) || textOf(csp['violated_directive']).split(' ', 1)[0] || '';
  const blocked = textOf(csp['blocked_uri']);
  if (!directive) return '';
  return blocked ? `Blocked '${directive}' from '${blocked}'` : `Blocked '${directive}'`;
}

function messageOf(event: JsonMap): string {
  const entry = mapOf(event['logentry']);
  return textOf(entry['formatted']) || textOf(entry['message']) || textOf(event['message']);
}

/** The last frame that is the application's own, else the last one. */
function placeOf(exception: JsonMap | undefined): string {
  const frames = listOf(fieldOf(exception ?? {}, 'stacktrace', 'frames'));
  const own = frames.findLast((frame) => mapOf(frame)['in_app'] === true);
  const frame = mapOf(own ?? frames.at(-1));
  const where = textOf(frame['module']) || textOf(frame['filename']);
  const what = textOf(frame['function']);
  return where && what ? `${where} in ${what}` : where || what;
}

function userOf(user: JsonMap): string {
  for (const name of ['id', 'username', 'email', 'ip_address']) {
    const text = textOf(user[name]);
    if (text) return text;
  }
  return '';
}

function sdkOf(sdk: JsonMap): string {
  const name = textOf(sdk['name']);
  const version = textOf(sdk['version']);
  return name && version ? `${name}/${version}` : name;
}

/** Seconds since the epoch, or RFC 3339. */
function timeOf(timestamp: unknown): number | undefined {
  const ms = typeof timestamp === 'number' ? Math.round(timestamp * 1000) : Date.parse(textOf(timestamp));
  return ms >= 0 && ms <= MAX_TIME_MS ? ms : undefined;
}

function searchTextOf(parts: readonly string[]): string {
  const seen = new Set<string>();
  let length = 0;
  for (const part of parts) {
    if (part === '' || length > MAX_SEARCH_TEXT) continue;
    seen.add(part.slice(0, MAX_SEARCH_TEXT));
    length += part.length;
  }
  return [...seen].join('\n').toLowerCase();
}
