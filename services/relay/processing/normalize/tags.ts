import { isObject, textOf } from '../json.ts';
import type { Draft } from './draft.ts';
import { trim } from './trim.ts';

const KEY = /^[A-Za-z0-9_.:-]+$/;
/** An event says these elsewhere. */
const RESERVED: ReadonlySet<string> = new Set(['release', 'dist', 'user', 'filename', 'function']);

type Tag = [string | null, string | null];

/** Pairs, each key once; an environment or a server's name among or beside them is where it belongs. */
export function normalizeTags(draft: Draft): void {
  const { event, notes } = draft;
  const tags: Tag[] = [];
  const seen = new Set<string>();
  for (const [sentKey, sentValue] of pairsOf(draft)) {
    const path = ['tags', tags.length];
    const name = textOf(sentKey)?.trim().replaceAll(' ', '-');
    if (name === undefined || !KEY.test(name)) {
      notes.invalid([...path, 0], 'invalid character in tag key');
      tags.push([null, readValue(sentValue, draft, path)]);
      continue;
    }
    if (RESERVED.has(name)) continue;
    if (name === 'environment') {
      if ((event['environment'] ?? '') === '' && typeof sentValue === 'string') event['environment'] = sentValue;
      continue;
    }
    const key = trim(name, 'tag', notes, [...path, 0]);
    if (seen.has(key)) continue;
    seen.add(key);
    tags.push([key, readValue(sentValue, draft, path)]);
  }
  const server = textOf(event['server_name']);
  if (event['server_name'] !== undefined) event['server_name'] = undefined;
  if (server !== undefined && server !== '' && !seen.has('server_name')) {
    tags.push(['server_name', trim(server, 'tag', notes, ['tags', tags.length, 1])]);
  }
  if (tags.length > 0) event['tags'] = tags;
  else if (event['tags'] !== null) event['tags'] = undefined;
}

function pairsOf({ event, notes }: Draft): readonly (readonly [unknown, unknown])[] {
  const sent = event['tags'];
  if (sent === undefined || sent === null) return [];
  if (isObject(sent)) return Object.entries(sent);
  if (!Array.isArray(sent)) {
    event['tags'] = null;
    notes.invalid(['tags'], 'expected tags');
    return [];
  }
  const pairs: (readonly [unknown, unknown])[] = [];
  for (const pair of sent) {
    if (Array.isArray(pair) && pair.length === 2) pairs.push([pair[0], pair[1]]);
    else if (isObject(pair) && Object.hasOwn(pair, 'key')) pairs.push([pair['key'], pair['value']]);
    else if (pair !== null) notes.invalid(['tags'], 'expected pairs');
  }
  return pairs;
}

function readValue(sent: unknown, { notes }: Draft, path: readonly (string | number)[]): string | null {
  if (sent === null || sent === undefined) return null;
  const value = textOf(sent);
  if (value !== undefined && value !== '') return trim(value, 'tag', notes, [...path, 1]);
  notes.invalid([...path, 1], value === undefined ? 'expected a string' : 'expected a non-empty value');
  return null;
}
