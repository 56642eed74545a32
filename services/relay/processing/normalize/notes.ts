import { getOwn, isObject, type JsonObject, setOwn } from '../json.ts';

export type Path = readonly (string | number)[];

/** Of what is wrong more often nobody reads each: an event of nothing else would become many times as large. */
const MAX_NOTES = 250;

/**
 * What was changed of an event, and why: its `_meta`, which mirrors the event; a value's own note is under the empty key.
 * Notes that came with the event stay.
 */
export class Notes {
  #root: JsonObject | undefined;
  #left = MAX_NOTES;

  constructor(sent: unknown) {
    this.#root = isObject(sent) ? sent : undefined;
  }

  /** Undefined: nothing is noted. */
  get root(): JsonObject | undefined {
    return this.#root;
  }

  /** The name of an error, by those that Sentry's pages know, and what it says. */
  error(path: Path, name: string, data?: JsonObject): void {
    const note = this.#at(path);
    const errors = getOwn(note, 'err');
    const error = data === undefined ? name : [name, data];
    if (Array.isArray(errors)) errors.push(error);
    else note['err'] = [error];
  }

  /** It isn't what belongs there. `value`: what was sent, of fields that say nothing of a person. */
  invalid(path: Path, reason: string, value?: unknown): void {
    this.error(path, 'invalid_data', { reason });
    if (typeof value === 'number' || (typeof value === 'string' && value.length <= 64)) this.#at(path)['val'] = value;
  }

  /** A text of `length` was cut; its end, from `start` to `end` of what is left, stands for the rest. */
  cut(path: Path, start: number, end: number, length: number): void {
    const note = this.#at(path);
    const remarks = getOwn(note, 'rem');
    const remark = ['!limit', 's', start, end];
    if (Array.isArray(remarks)) remarks.push(remark);
    else note['rem'] = [remark];
    note['len'] ??= length;
  }

  /** A list of `length` was shortened. */
  shortened(path: Path, length: number): void {
    this.#at(path)['len'] ??= length;
  }

  #at(path: Path): JsonObject {
    if (this.#left === 0) return {};
    this.#left--;
    this.#root ??= {};
    let node = this.#root;
    for (const key of path) node = child(node, String(key));
    return child(node, '');
  }
}

function child(node: JsonObject, key: string): JsonObject {
  const found = getOwn(node, key);
  if (isObject(found)) return found;
  const made: JsonObject = {};
  setOwn(node, key, made);
  return made;
}
