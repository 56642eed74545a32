import { isObject, textOf } from '../json.ts';
import type { Draft } from './draft.ts';
import { MAX_CHARS, trim } from './trim.ts';

const PERCENT = /%(?:\((\w{1,100})\))?[-+#0]{0,5}\d{0,5}(?:\.\d{0,5})?[diouxXeEfFgGcrsaO%]/g;
const BRACES = /\{(\w{0,100})(?:![rsa])?(?::[^{}]{0,20})?\}/g;

/** What a message says is in `formatted`; `message` is what it was made from, if it was made. */
export function normalizeLogentry({ event, notes }: Draft): void {
  const sent = event['logentry'];
  if (sent === undefined || sent === null) return;
  if (!isObject(sent)) {
    const text = textOf(sent);
    if (text === undefined) notes.invalid(['logentry'], 'expected a message');
    event['logentry'] =
      text === undefined ? null : { formatted: trim(text, 'message', notes, ['logentry', 'formatted']) };
    return;
  }
  for (const key of ['message', 'formatted']) {
    const value = sent[key];
    if (value === undefined || value === null) continue;
    const text = textOf(value);
    if (text === undefined) notes.invalid(['logentry', key], 'expected a string');
    sent[key] = text === undefined ? null : trim(text, 'message', notes, ['logentry', key]);
  }
  const message = sent['message'];
  if (typeof message !== 'string' || typeof sent['formatted'] === 'string') return;
  const formatted = format(message, sent['params']);
  sent['formatted'] = formatted ?? message;
  if (formatted === undefined) sent['message'] = undefined;
}

/** Undefined: there is nothing to put into it. */
function format(message: string, params: unknown): string | undefined {
  const isList = Array.isArray(params);
  if (!isObject(params) && !isList) return undefined;
  if (isList ? params.length === 0 : Object.keys(params).length === 0) return undefined;
  return substitute(message, PERCENT, params, '%') ?? substitute(message, BRACES, params, undefined) ?? message;
}

/** Undefined: no placeholder has a parameter. It ends where a message may: parameters may be long, and be named often. */
function substitute(
  message: string,
  placeholders: RegExp,
  params: readonly unknown[] | Record<string, unknown>,
  escaped: string | undefined,
): string | undefined {
  let result = '';
  let from = 0;
  let next = 0;
  let isMade = false;
  for (const match of message.matchAll(placeholders)) {
    const [placeholder, name] = match;
    const isEscape = escaped !== undefined && placeholder === escaped + escaped;
    const key = name === undefined || name === '' ? next : name;
    if (!isEscape) {
      if (!Object.hasOwn(params, key)) continue;
      if (key === next) next++;
    }
    isMade ||= !isEscape;
    result +=
      message.slice(from, match.index) + (isEscape ? escaped : wordOf((params as Record<string, unknown>)[key]));
    from = match.index + placeholder.length;
    if (result.length > MAX_CHARS.message) break;
  }
  return isMade ? (result + message.slice(from)).slice(0, MAX_CHARS.message) : undefined;
}

function wordOf(value: unknown): string {
  return (textOf(value) ?? JSON.stringify(value)).slice(0, MAX_CHARS.message);
}
