import type { JsonObject } from '@bufbuild/protobuf';
import { compareEntryIds, type EntryId, parseEntryId } from '#lib/broker/entry-id.ts';

/**
 * Holds what listeners received against what publishers were promised. A publish that was acknowledged must reach every
 * listener of its channel once, in the order of ids; a message under two ids was stored twice.
 *
 * Every listener is expected to have listened from the channel's first message on.
 */
export interface Verdict {
  /** Acknowledged, and not received by a listener. */
  readonly lost: number;
  /** Received more than once by a listener, or stored under several ids. */
  readonly double: number;
  /** Received after something that is later in the log. */
  readonly outOfOrder: number;
  /** Received, and never acknowledged to anybody. */
  readonly unknown: number;
}

export const FLAWLESS: Verdict = { lost: 0, double: 0, outOfOrder: 0, unknown: 0 };

/** What one listener received, over all its connections. */
export class Receipts {
  readonly channel: string;
  readonly ids: string[] = [];
  readonly sequences: number[] = [];

  constructor(channel: string) {
    this.channel = channel;
  }

  record(id: string, sequence: number, _payload?: JsonObject): void {
    this.ids.push(id);
    this.sequences.push(sequence);
  }

  /** For books that hold what a listener was told against what it did not get; this one does not. */
  control(_told: Told): void {}
}

/** A control, as a listener gets it. */
export interface Told {
  readonly type: string;
  /** Where the listener stands after it; empty: nowhere. */
  readonly cursor: string;
  /** Of a gap: what there is after it. */
  readonly firstId: string;
}

export class Checker {
  readonly #acknowledged = new Map<string, Map<string, number>>();
  readonly #receipts: Receipts[] = [];

  /** A publish of `sequence` was answered with `id`; sequences are the test's own, one for each message of a channel. */
  acknowledge(channel: string, id: string, sequence: number): void {
    let ids = this.#acknowledged.get(channel);
    if (ids === undefined) {
      ids = new Map();
      this.#acknowledged.set(channel, ids);
    }
    ids.set(id, sequence);
  }

  /** The book of a new listener of `channel`. */
  listener(channel: string): Receipts {
    const receipts = new Receipts(channel);
    this.#receipts.push(receipts);
    return receipts;
  }

  /** @param survivors What a broker that lost data still holds, by channel: only that can be expected. */
  verdict(survivors?: ReadonlyMap<string, ReadonlySet<string>>): Verdict {
    const sum = { lost: 0, double: 0, outOfOrder: 0, unknown: 0 };
    for (const [channel, ids] of this.#acknowledged) {
      sum.double += ids.size - new Set(ids.values()).size;
      for (const receipts of this.#receipts) {
        if (receipts.channel !== channel) continue;
        const received = new Set(receipts.ids);
        sum.double += receipts.ids.length - received.size;
        sum.double += received.size - new Set(receipts.sequences).size;
        sum.outOfOrder += countDescents(receipts.ids);
        for (const id of received) if (!ids.has(id)) sum.unknown += 1;
        const expected = survivors === undefined ? ids.keys() : (survivors.get(channel) ?? []);
        for (const id of expected) if (!received.has(id)) sum.lost += 1;
      }
    }
    return sum;
  }
}

function countDescents(ids: readonly string[]): number {
  return ids.filter((id, n) => n > 0 && compareEntryIds(entryId(id), entryId(ids[n - 1] ?? '')) < 0).length;
}

function entryId(text: string): EntryId {
  const id = parseEntryId(text);
  if (id === undefined) throw new Error(`${text} is no entry id`);
  return id;
}
