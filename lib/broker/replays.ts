import { LRUCache } from 'lru-cache';
import type { ChannelKey, Entry } from './broker.ts';

/** Of entries' data, over all channels of a process; what is made of them is a small multiple. */
const MAX_BYTES = 16 * 1024 * 1024;
/** An entry of no data costs this, too. */
const ENTRY_OVERHEAD_BYTES = 512;
/** Long enough for those who come back together; short enough that nothing is kept for nobody. */
const KEEP_MS = 10_000;

/**
 * What readers share of history: many that join a channel at once, or come back to it together, are sent the same
 * entries, decoded and encoded once. Live entries are not in here: their feed has them.
 */
export class Replays<D extends object> {
  readonly #made = new LRUCache<string, readonly D[]>({ maxSize: MAX_BYTES, ttl: KEEP_MS });

  /** Each entry's shared form. */
  share(channel: ChannelKey, entry: Entry, make: (entry: Entry) => D): D {
    const [made] = this.shareRun(channel, [entry], () => [make(entry)]);
    return made ?? make(entry);
  }

  /** What is made of entries that follow each other, at least one. */
  shareRun(channel: ChannelKey, entries: readonly Entry[], make: () => readonly D[]): readonly D[] {
    let dataBytes = 0;
    for (const { data } of entries) dataBytes += data.byteLength;
    // A log that was rolled back may give an id again; then what was before it is another, or what is between.
    const key = `${channel} ${entries[0]?.prev} ${entries.at(-1)?.id} ${entries.length} ${dataBytes}`;
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const made = make();
    this.#made.set(key, made, { size: dataBytes + entries.length * ENTRY_OVERHEAD_BYTES });
    return made;
  }

  /** Forgets what was kept long enough. */
  purge(): void {
    this.#made.purgeStale();
  }

  clear(): void {
    this.#made.clear();
  }
}
