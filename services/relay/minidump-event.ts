import type { Form } from './http-multipart.ts';
import { nativeCrash } from './native-crash.ts';
import { parseJsonText } from './processing/json.ts';

type Fields = Form['fields'];
type JsonObject = Record<string, unknown>;

const MAX_DEPTH = 8;

/**
 * The event of a native crash, by a form's fields: `sentry` has it as JSON, or in pieces `sentry__1`, `sentry__2` … where a
 * field may not be long; `sentry[release]` and the like name parts of it. All other fields are kept as extra data.
 */
export function eventOfForm(fields: Fields): JsonObject {
  const event: JsonObject = {};
  const extra: JsonObject = {};
  const pieces: { readonly number: number; readonly value: string }[] = [];
  for (const { name, value } of fields) {
    const number = name === 'sentry' ? 0 : Number(/^sentry__(\d{1,3})$/.exec(name)?.[1] ?? Number.NaN);
    const path = pathOf(name);
    if (!Number.isNaN(number)) pieces.push({ number, value });
    else if (path === undefined) define(extra, name, value);
    else put(event, path, value);
  }
  const text = pieces
    .toSorted((a, b) => a.number - b.number)
    .map(({ value }) => value)
    .join('');
  const json = parseObject(text);
  // A crash is told once: what can't be read of it is kept for who can.
  if (json === undefined && text !== '') define(extra, 'sentry', text);
  return { ...nativeCrash(), ...json, ...event, ...extraOf(json, event, extra) };
}

function extraOf(json: JsonObject | undefined, event: JsonObject, extra: JsonObject): JsonObject {
  const all = { ...extra, ...objectOf(json?.['extra']), ...objectOf(event['extra']) };
  return Object.keys(all).length === 0 ? {} : { extra: all };
}

/** Of `sentry[a][b]`: a, b. Undefined: it is called otherwise. */
function pathOf(name: string): string[] | undefined {
  if (!/^sentry(\[[^[\]]{1,200}\])+$/.test(name)) return undefined;
  const path = name.slice('sentry['.length, -1).split('][');
  return path.length > MAX_DEPTH ? undefined : path;
}

function put(target: JsonObject, path: readonly string[], value: string): void {
  let at = target;
  for (const key of path.slice(0, -1)) {
    const inner = objectOf(Object.hasOwn(at, key) ? at[key] : undefined) ?? {};
    define(at, key, inner);
    at = inner;
  }
  define(at, path.at(-1) ?? '', value);
}

/** An own field, whatever it is called. */
function define(object: JsonObject, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
}

function objectOf(value: unknown): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
}

/** Not what is so deep that nobody could write it again. */
function parseObject(text: string): JsonObject | undefined {
  return objectOf(parseJsonText(text));
}
