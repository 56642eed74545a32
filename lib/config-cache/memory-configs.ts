import { LRUCache } from 'lru-cache';
import type { ConfigEntry } from './config-entry.ts';

/**
 * Entries in memory, in two parts: what exists, and what doesn't. Whoever asks for random keys fills the second, and
 * pushes nothing out of the first. Together they take at most `maxBytes`, by an estimate that is on the safe side.
 */
export class MemoryConfigs {
  readonly #known: LRUCache<string, ConfigEntry>;
  readonly #unknown: LRUCache<string, ConfigEntry>;

  constructor(maxBytes: number) {
    const unknownBytes = Math.floor(maxBytes * UNKNOWN_SHARE);
    this.#known = bounded(maxBytes - unknownBytes);
    this.#unknown = bounded(unknownBytes);
  }

  get bytes(): number {
    return this.#known.calculatedSize + this.#unknown.calculatedSize;
  }

  get(publicKey: string): ConfigEntry | undefined {
    return this.#known.get(publicKey) ?? this.#unknown.get(publicKey);
  }

  set(publicKey: string, entry: ConfigEntry): void {
    const [into, other] = entry.kind === 'unknown' ? [this.#unknown, this.#known] : [this.#known, this.#unknown];
    other.delete(publicKey);
    into.set(publicKey, entry);
  }

  delete(publicKey: string): void {
    this.#known.delete(publicKey);
    this.#unknown.delete(publicKey);
  }

  clear(): void {
    this.#known.clear();
    this.#unknown.clear();
  }
}

const UNKNOWN_SHARE = 1 / 16;

/**
 * Key, entry, places in tables, and what the allocator leaves between them, as seen in the process's resident memory. A
 * small array of bytes has more around it than in it.
 */
const CONFIG_OVERHEAD_BYTES = 1024;
const OTHER_OVERHEAD_BYTES = 512;

function bounded(maxSize: number): LRUCache<string, ConfigEntry> {
  return new LRUCache({ maxSize, sizeCalculation: sizeOf });
}

function sizeOf(entry: ConfigEntry): number {
  return entry.kind === 'config' ? CONFIG_OVERHEAD_BYTES + entry.bytes.byteLength : OTHER_OVERHEAD_BYTES;
}
