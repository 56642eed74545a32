export type JsonObject = Record<string, unknown>;

/** Deeper is no JSON for us: what reads an event later, in whatever language, recurses. */
export const MAX_JSON_DEPTH = 128;

const TOO_DEEP = 1;
const INEXACT = 2;
const NOT_A_NUMBER = 4;
/** A double holds every whole number of so many digits. */
const EXACT_DIGITS = 15;
const IN_FRACTION = -(2 ** 30);

/** A number that a double can't hold, as it was sent. */
export class ExactNumber {
  readonly source: string;

  constructor(source: string) {
    this.source = source;
  }

  toString(): string {
    return this.source;
  }

  toJSON(): unknown {
    return rawJson(this.source);
  }
}

/** Of what {@link parseJson} made. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof ExactNumber);
}

/**
 * What JSON means, and undefined for what isn't any, or is too deep. Numbers are kept exactly.
 * @param lenient take the NaN and Infinity that Python writes, as null.
 */
export function parseJson(json: Uint8Array, lenient = false): unknown {
  const found = scan(json);
  if ((found & TOO_DEEP) !== 0) return undefined;
  const text = Buffer.from(json.buffer, json.byteOffset, json.byteLength).toString();
  const isOther = lenient && (found & NOT_A_NUMBER) !== 0;
  return parseText(isOther ? withoutNotNumbers(text) : text, (found & INEXACT) !== 0);
}

/** As {@link parseJson} does. */
export function parseJsonText(text: string): unknown {
  return parseJson(Buffer.from(text));
}

/** Sets what an own key of that name holds, `__proto__` too. */
export function setOwn(object: JsonObject, key: string, value: unknown): void {
  if (key !== '__proto__') object[key] = value;
  else Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
}

/** What an own key holds: never what every object has. */
export function getOwn(object: JsonObject, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

/** What was sent where text belongs: numbers and booleans as JSON writes them. Undefined: nothing, or not text. */
export function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean' || value instanceof ExactNumber) return String(value);
  return undefined;
}

/** One pass over the bytes: an event is small, and asking the text would take one for each question. */
function scan(json: Uint8Array): number {
  let found = 0;
  let depth = 0;
  // Of a whole number; far below 0 in a fraction, which has as many as it likes.
  let digits = 0;
  for (let index = 0; index < json.length; index++) {
    const byte = json[index]!;
    if (byte === 0x22 /* " */) {
      for (index++; index < json.length && json[index] !== 0x22; index++) if (json[index] === 0x5c /* \ */) index++;
      digits = 0;
    } else if (byte >= 0x30 && byte <= 0x39) {
      if (++digits > EXACT_DIGITS) found |= INEXACT;
    } else if (byte === 0x7b /* { */ || byte === 0x5b /* [ */) {
      if (++depth > MAX_JSON_DEPTH) return TOO_DEEP;
      digits = 0;
    } else if (byte === 0x7d /* } */ || byte === 0x5d /* ] */) {
      depth--;
      digits = 0;
    } else if (byte === 0x2e /* . */) {
      digits = IN_FRACTION;
    } else if (byte === 0x4e /* N */ || byte === 0x49 /* I */) {
      found |= NOT_A_NUMBER;
    } else if (byte === 0x65 /* e */ || byte === 0x45 /* E */) {
      // Not that of `true`. With three digits it may be more than a double holds.
      if (digits !== 0) digits = EXACT_DIGITS - 2;
    } else if (byte !== 0x2b /* + */ && byte !== 0x2d /* - */) {
      digits = 0;
    }
  }
  return found;
}

function parseText(text: string, isInexact: boolean): unknown {
  try {
    return isInexact ? JSON.parse(text, exactly as Parameters<typeof JSON.parse>[1]) : JSON.parse(text);
  } catch {
    return undefined;
  }
}

function exactly(_key: string, value: unknown, context: { readonly source?: string }): unknown {
  const source = context.source;
  if (typeof value !== 'number' || source === undefined) return value;
  const isHeld = Number.isFinite(value) && (Number.isSafeInteger(value) || !/^-?\d+$/.test(source));
  return isHeld ? value : new ExactNumber(source);
}

/** Not by a regular expression over strings: one that is never closed would take the square of its length. */
function withoutNotNumbers(text: string): string {
  const parts: string[] = [];
  let from = 0;
  for (let index = 0; index < text.length; index++) {
    const char = text[index];
    if (char === '"') {
      for (index++; index < text.length && text[index] !== '"'; index++) if (text[index] === '\\') index++;
    } else if (char === 'N' || char === 'I') {
      const token = ['NaN', 'Infinity'].find((each) => text.startsWith(each, index));
      if (token === undefined) continue;
      const start = index > 0 && text[index - 1] === '-' ? index - 1 : index;
      parts.push(text.slice(from, start), 'null');
      from = index + token.length;
      index = from - 1;
    }
  }
  return parts.join('') + text.slice(from);
}

/** Of ECMAScript, not yet in TypeScript's library. */
const { rawJSON: rawJson } = JSON as unknown as { rawJSON(text: string): unknown };
