import { createHash } from 'node:crypto';
import type { ChannelKey } from '#lib/broker/broker.ts';
import { BEFORE_ALL, type EntryId } from '#lib/broker/entry-id.ts';

/** What a cursor may have at most, as the contract says: it is sent in headers and URLs. */
const MAX_LENGTH = 2048;

/**
 * The cursor of a listener of several channels: where it stands in each, in letters that need no escape in ids of events,
 * headers and URLs.
 *
 * A letter for the form, and then 24 of base64url a channel, in any order: 12 that name it (nine bytes of a hash), and 12
 * that are the id there (48 bits of milliseconds, 24 of its number), all zero before the first one. Both are whole letters,
 * so that only what has changed is written again; and names instead of numbers let a listener come back with other
 * channels, or with the same in another order.
 */
const FORM = 'A';
const NAME_BYTES = 9;
const NAME_LENGTH = 12;
const ID_BYTES = 9;
const MS_BYTES = 6;
const N_BYTES = 3;
const PLACE_LENGTH = 24;
const BEGINNING = 'A'.repeat(PLACE_LENGTH - NAME_LENGTH);

/** What a text is not that is none. */
export const OF_SEVERAL = 'must be a cursor of several channels';

const TEXT = /^[A-Za-z0-9_-]*$/;
const MAX_MS = 2 ** (8 * MS_BYTES) - 1;
const MAX_N = 2 ** (8 * N_BYTES) - 1;

export class CompositeCursor {
  /** In ASCII. Always of the same length. */
  readonly bytes: Buffer;

  /** `cursors` are where it stands in each of the channels; undefined: before everything. */
  constructor(channels: readonly ChannelKey[], cursors: readonly (EntryId | undefined)[]) {
    this.bytes = Buffer.from(FORM + channels.map((channel) => nameOf(channel) + BEGINNING).join(''), 'latin1');
    cursors.forEach((cursor, n) => {
      this.move(n, cursor);
    });
  }

  /** Stands at `id` in the `n`th channel. */
  move(n: number, id: EntryId | undefined): void {
    this.bytes.write(spelled(id), FORM.length + n * PLACE_LENGTH + NAME_LENGTH, 'latin1');
  }

  toString(): string {
    return this.bytes.toString('latin1');
  }
}

/**
 * Where a cursor that came from outside stands in each of the channels; undefined: in none of what is retained, or it says
 * nothing of it. Undefined instead of an answer: it is no cursor. An empty one is where everybody begins.
 */
export function parseCompositeCursor(
  text: string,
  channels: readonly ChannelKey[],
): (EntryId | undefined)[] | undefined {
  if (text === '') return channels.map(() => undefined);
  const isCursor = text.length <= MAX_LENGTH && TEXT.test(text) && text.startsWith(FORM);
  if (!isCursor || (text.length - FORM.length) % PLACE_LENGTH !== 0) return undefined;
  const places = new Map<string, EntryId | undefined>();
  for (let at = FORM.length; at < text.length; at += PLACE_LENGTH) {
    const place = text.slice(at, at + PLACE_LENGTH);
    places.set(place.slice(0, NAME_LENGTH), read(place.slice(NAME_LENGTH)));
  }
  return channels.map((channel) => places.get(nameOf(channel)));
}

function nameOf(channel: ChannelKey): string {
  return createHash('sha256').update(channel).digest().subarray(0, NAME_BYTES).toString('base64url');
}

// An id goes to one listener after the other.
let lastId: EntryId | undefined;
let lastSpelled = BEGINNING;

/** What is beyond any broker's clock is spelled as the beginning: then much is repeated, but nothing is left out. */
function spelled(id: EntryId | undefined): string {
  if (id === lastId) return lastSpelled;
  lastId = id;
  lastSpelled = BEGINNING;
  if (id === undefined) return lastSpelled;
  const dash = id.indexOf('-');
  const [ms, n] = [Number(id.slice(0, dash)), Number(id.slice(dash + 1))];
  if (ms > MAX_MS || n > MAX_N) return lastSpelled;
  const bytes = Buffer.allocUnsafe(ID_BYTES);
  bytes.writeUIntBE(ms, 0, MS_BYTES);
  bytes.writeUIntBE(n, MS_BYTES, N_BYTES);
  lastSpelled = bytes.toString('base64url');
  return lastSpelled;
}

function read(text: string): EntryId | undefined {
  const bytes = Buffer.from(text, 'base64url');
  const id = `${bytes.readUIntBE(0, MS_BYTES)}-${bytes.readUIntBE(MS_BYTES, N_BYTES)}` as EntryId;
  return id === BEFORE_ALL ? undefined : id;
}
