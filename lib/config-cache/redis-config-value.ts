import type { ConfigEntry } from './config-entry.ts';

/** How redis-config-keys.ts says that entries are written. */
export function encodeEntry(generation: string, entry: ConfigEntry): Buffer {
  const isConfig = entry.kind === 'config';
  const head = `${generation} ${entry.kind} ${entry.loadedAtMs} ${isConfig ? entry.revision : 0}\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), isConfig ? entry.bytes : Buffer.alloc(0)]);
}

export function encodeLease(generation: string, lease: string): string {
  return `${generation} lease ${lease}`;
}

const HEAD = /^\S+ (config|disabled|unknown) (\d{1,15}) (\d{1,19})$/;

/** Undefined where it is none of ours. */
export function decodeEntry(value: Buffer): ConfigEntry | undefined {
  const end = value.indexOf('\n');
  const [, kind, loadedAt, revision] = HEAD.exec(value.toString('latin1', 0, Math.max(end, 0))) ?? [];
  const loadedAtMs = Number(loadedAt);
  switch (kind) {
    case 'config':
      // A copy: the reply that it is a part of would stay in memory for as long as the entry.
      return { kind, revision: BigInt(revision ?? 0), bytes: new Uint8Array(value.subarray(end + 1)), loadedAtMs };
    case 'disabled':
    case 'unknown':
      return { kind, loadedAtMs };
    default:
      return undefined;
  }
}
