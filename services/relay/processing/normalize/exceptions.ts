import { isObject, type JsonObject, textOf } from '../json.ts';
import type { Draft } from './draft.ts';
import type { Path } from './notes.ts';
import { trim } from './trim.ts';

const MAX_FRAMES = 250;
const OLDEST_FRAMES = 50;
/** `Type: what it says`, as SDKs that know no better put both into the value. */
const TYPED_VALUE = /^([A-Za-z_$][\w$.:]{0,200}?):\s+/;
const WEB_URL = /^https?:\/\/[^/]+(\/[^?#]*)/;

/** `exception.values`, each with a type or a value; stack traces that say where each frame is. */
export function normalizeExceptions(draft: Draft): void {
  const { event, notes } = draft;
  const values = listOf(draft, 'exception');
  if (values !== undefined) {
    const kept: unknown[] = [];
    for (const value of values) {
      const exception = normalizeException(value, draft, ['exception', 'values', kept.length]);
      if (exception === undefined) notes.error(['exception', 'values'], 'missing_attribute', { attribute: 'type' });
      else kept.push(exception);
    }
    event['exception'] = kept.length === 0 ? undefined : { ...(event['exception'] as JsonObject), values: kept };
    moveStacktrace(event, kept);
  }
  const threads = listOf(draft, 'threads') ?? [];
  for (const [index, thread] of threads.entries()) {
    if (isObject(thread)) normalizeStacktrace(thread, draft, ['threads', 'values', index]);
  }
  normalizeStacktrace(event, draft, []);
}

/** The `values` of what was sent as one, as a list or as both should be; it is put into that form. */
function listOf({ event, notes }: Draft, key: string): readonly unknown[] | undefined {
  const sent = event[key];
  if (sent === undefined || sent === null) return undefined;
  if (Array.isArray(sent)) {
    event[key] = { values: sent };
    return sent;
  }
  if (isObject(sent)) {
    const values = sent['values'];
    if (Array.isArray(values)) return values;
    if (isObject(values)) return setValues(event, key, { ...sent, values: [values] });
    if (key === 'exception' && !Object.hasOwn(sent, 'values')) return setValues(event, key, { values: [sent] });
    return [];
  }
  event[key] = null;
  notes.invalid([key], 'expected an object');
  return undefined;
}

function setValues(event: JsonObject, key: string, value: { readonly values: readonly unknown[] }): readonly unknown[] {
  event[key] = value;
  return value.values;
}

/** Undefined: it says nothing. */
function normalizeException(sent: unknown, draft: Draft, path: Path): JsonObject | undefined {
  if (!isObject(sent)) return undefined;
  const type = wordOf(sent['type']);
  const value = wordOf(sent['value']);
  if (type === undefined && value === undefined) return undefined;
  const split = type === undefined && value !== undefined ? TYPED_VALUE.exec(value) : null;
  if (split !== null) {
    sent['type'] = split[1];
    sent['value'] = trim(value!.slice(split[0].length), 'message', draft.notes, [...path, 'value']);
  } else {
    if (type !== undefined) sent['type'] = type;
    if (value !== undefined) sent['value'] = trim(value, 'message', draft.notes, [...path, 'value']);
  }
  normalizeStacktrace(sent, draft, path);
  return sent;
}

/** Undefined: empty, or none. Objects as JSON writes them: some languages throw anything. */
function wordOf(value: unknown): string | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  return textOf(value) ?? JSON.stringify(value);
}

/** An event's own stack trace is that of the exception, if there is one without. */
function moveStacktrace(event: JsonObject, exceptions: readonly unknown[]): void {
  const [only] = exceptions;
  const stacktrace = event['stacktrace'];
  if (!isObject(stacktrace) || exceptions.length !== 1 || !isObject(only) || (only['stacktrace'] ?? null) !== null)
    return;
  only['stacktrace'] = stacktrace;
  event['stacktrace'] = undefined;
}

function normalizeStacktrace(owner: JsonObject, { notes }: Draft, path: Path): void {
  const stacktrace = owner['stacktrace'];
  if (stacktrace === undefined || stacktrace === null) return;
  if (!isObject(stacktrace)) {
    owner['stacktrace'] = null;
    notes.invalid([...path, 'stacktrace'], 'expected an object');
    return;
  }
  const frames = stacktrace['frames'];
  if (!Array.isArray(frames)) return;
  if (frames.length > MAX_FRAMES) {
    const kept = [...frames.slice(0, OLDEST_FRAMES), ...frames.slice(frames.length - (MAX_FRAMES - OLDEST_FRAMES))];
    stacktrace['frames'] = kept;
    notes.shortened([...path, 'stacktrace', 'frames'], frames.length);
    kept.forEach(fillNames);
  } else for (const frame of frames) fillNames(frame);
}

function fillNames(frame: unknown): void {
  if (!isObject(frame)) return;
  const filename = frame['filename'];
  const absPath = frame['abs_path'];
  if (typeof filename === 'string' && filename !== '') {
    if ((absPath ?? '') === '') frame['abs_path'] = filename;
  } else if (typeof absPath === 'string' && absPath !== '' && (filename ?? '') === '') {
    frame['filename'] = WEB_URL.exec(absPath)?.[1] ?? absPath;
  }
}
