import { expect, test } from 'vitest';
import { usedBytes } from '../../test/support/heap.ts';
import { newChannel } from './broker-harness.ts';
import { ChannelSnapshot } from './channel-snapshot.ts';
import { textOf } from './coalescing-contract.ts';
import { BEFORE_ALL, type EntryId } from './entry-id.ts';
import { messageKey } from './message-key.ts';
import { findTextDelta } from './text-delta.ts';

const MIB = 1024 * 1024;

function idAt(n: number): EntryId {
  return n < 0 ? BEFORE_ALL : (`${1_700_000_000_000 + n}-0` as EntryId);
}

/** Texts that follow each other, each of its own entry. */
function fill(snapshot: ChannelSnapshot, texts: readonly string[], nameOf: (n: number) => string): void {
  const channel = newChannel();
  for (const [n, text] of texts.entries()) {
    const { data, ...message } = textOf(channel, text, nameOf(n));
    const own = Uint8Array.from(data);
    const entry = { id: idAt(n), prev: idAt(n - 1), kind: 'message', seals: false, data: own, coalesceMs: 40 } as const;
    snapshot.add(entry, messageKey(message), findTextDelta(own));
  }
}

const sameName = () => 'text';

test.each([
  ['a few words each, many of them', 3_000, ['a', ' few', ' words'], sameName],
  ['pieces of a word', 3, Array.from({ length: 10_000 }, () => 'x'), (n: number) => `${n % 2}`],
  ['one long text', 10, Array.from({ length: 8_000 }, () => 'x'.repeat(100)), sameName],
] as const)('does not take more than it says: %s', (_, count, texts, nameOf) => {
  // What is made at the first use.
  fill(new ChannelSnapshot(newChannel(), BEFORE_ALL), texts.slice(0, 100), nameOf);
  const before = usedBytes();
  const snapshots = Array.from({ length: count }, () => new ChannelSnapshot(newChannel(), idAt(0)));
  for (const snapshot of snapshots) fill(snapshot, texts, nameOf);
  const takes = usedBytes() - before;
  const says = snapshots.reduce((sum, { heldBytes }) => sum + heldBytes, 0);
  expect(says).toBeGreaterThan(2 * MIB);
  expect(takes).toBeLessThan(1.1 * says);
  expect(takes).toBeGreaterThan(0.5 * says);
});
