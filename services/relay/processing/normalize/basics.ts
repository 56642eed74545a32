import type { DataCategory } from '#lib/ingest/data-category.ts';
import { isObject, textOf } from '../json.ts';
import type { Draft } from './draft.ts';
import { trim } from './trim.ts';

const PLATFORMS: ReadonlySet<string> = new Set(
  'as3 c cfml cocoa csharp elixir go groovy haskell java javascript native node objc other perl php python ruby'.split(
    ' ',
  ),
);
const LEVELS: ReadonlySet<string> = new Set(['debug', 'info', 'warning', 'error', 'fatal']);
const LEVEL_SYNONYMS: ReadonlyMap<string, string> = new Map([
  ['log', 'info'],
  ['critical', 'fatal'],
]);
export const SECURITY_TYPES = ['csp', 'hpkp', 'expectct', 'expectstaple'] as const;
/** Of the protocol that SDKs speak. */
const PROTOCOL_VERSION = '7';
const NEVER_AN_ENVIRONMENT = 'none';

/** The level that is meant; undefined: none. */
export function levelOf(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined;
  return LEVELS.has(value) ? value : LEVEL_SYNONYMS.get(value);
}

export function categoryOf(type: unknown): DataCategory {
  if (type === 'transaction' || type === 'feedback') return type;
  return (SECURITY_TYPES as readonly unknown[]).includes(type) ? 'security' : 'error';
}

/** What every event has. */
export function normalizeBasics(draft: Draft): void {
  const { event, notes, origin } = draft;
  event['event_id'] = origin.eventId;
  event['type'] = origin.type ?? typeOf(draft);
  event['version'] = typeof event['version'] === 'string' ? event['version'] : PROTOCOL_VERSION;
  event['project'] = Number(origin.project.projectId);
  event['key_id'] = String(origin.project.keyId);

  const level = event['level'];
  const known = levelOf(level);
  if (known === undefined && level !== undefined && level !== null) notes.invalid(['level'], 'invalid level', level);
  event['level'] = known ?? 'error';

  const platform = event['platform'];
  event['platform'] = typeof platform === 'string' && PLATFORMS.has(platform) ? platform : 'other';

  text(draft, 'logger', 'logger');
  event['logger'] ??= '';
  text(draft, 'transaction', 'transaction');
  text(draft, 'culprit', 'culprit');
  text(draft, 'dist');
  normalizeSdk(draft);
}

/** A release or an environment that can't be one is null. */
export function normalizeRelease(draft: Draft): void {
  const { event, notes } = draft;
  text(draft, 'release', 'release');
  text(draft, 'environment', 'environment');
  for (const key of ['release', 'environment']) {
    const name = event[key];
    if (typeof name !== 'string') continue;
    if (name === '') event[key] = undefined;
    else if (key === 'release' ? !isRelease(name) : !isEnvironment(name)) {
      event[key] = null;
      notes.invalid([key], `invalid ${key}`, name);
    }
  }
}

function isRelease(name: string): boolean {
  const bare = name.trim();
  return bare !== '' && bare !== '.' && bare !== '..' && !/[\r\n\t\f\v\0/\\]/.test(name);
}

function isEnvironment(name: string): boolean {
  return name.trim() !== '' && name.toLowerCase() !== NEVER_AN_ENVIRONMENT && !/[\r\n\f\0/]/.test(name);
}

function typeOf({ event }: Draft): string {
  const type = event['type'];
  if (type === 'transaction' || type === 'feedback') return type;
  if (isObject(event['exception'])) return 'error';
  return SECURITY_TYPES.find((each) => isObject(event[each])) ?? 'default';
}

function normalizeSdk({ event, origin }: Draft): void {
  const client = origin.sender.client;
  const sdk = event['sdk'];
  if (client === undefined || client === '' || (isObject(sdk) && (sdk['name'] ?? null) !== null)) return;
  const at = client.lastIndexOf('/');
  const named = at > 0 ? { name: client.slice(0, at), version: client.slice(at + 1) } : { name: client };
  event['sdk'] = isObject(sdk) ? { ...sdk, ...named } : named;
}

function text(draft: Draft, key: string, limit?: Parameters<typeof trim>[1]): void {
  const value = draft.event[key];
  if (value === undefined || value === null) return;
  const found = textOf(value);
  if (found === undefined) draft.notes.invalid([key], 'expected a string');
  draft.event[key] =
    found === undefined || limit === undefined ? (found ?? null) : trim(found, limit, draft.notes, [key]);
}
