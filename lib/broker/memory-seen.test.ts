import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { MemorySeen } from './memory-seen.ts';
import { type Identity, messageKey } from './message-key.ts';

/** Few, so that many share an id. */
const identity = fc.record<Identity>({
  messageId: fc.constantFrom('a', 'b', 'c'),
  phase: fc.constantFrom(Phase.START, Phase.DELTA, Phase.END),
  sequence: fc.constantFrom(0n, 1n, 2n ** 64n - 1n),
});
const steps = fc.array(fc.tuple(fc.constantFrom('add', 'add', 'delete'), identity), { maxLength: 60 });

test('finds what was added and not deleted, told apart by all three', async () => {
  await fc.assert(
    fc.property(steps, fc.array(identity), (made, asked) => {
      const seen = new MemorySeen<Identity>();
      const model = new Map<string, Identity>();
      for (const [what, message] of made) {
        const key = messageKey(message);
        const known = model.get(key);
        if (what === 'add' && known === undefined) {
          seen.add(message);
          model.set(key, message);
        } else if (what === 'delete' && known !== undefined) {
          seen.delete(known);
          model.delete(key);
        }
        for (const each of [message, ...asked]) expect(seen.find(each)).toBe(model.get(messageKey(each)));
      }
    }),
  );
});
