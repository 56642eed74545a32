import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseEnvelope } from '../envelope-parse.ts';
import { processEnvelope } from './judge.ts';
import { inputOf } from './testing.ts';

const sentAt = fc.oneof(
  fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
  fc.constantFrom('-271821-04-20T00:00:00Z', '+275760-09-13T00:00:00Z', '1969-12-31T23:59:59Z', '9999-12-31T23:59:59Z'),
);
const time = fc.oneof(
  fc.constantFrom(0, -1, 253_402_300_799, -253_402_300_799, 1e15, '9999-12-31T23:59:59Z', '0001-01-01T00:00:00Z'),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);

test('no clock of a sender makes a fault of ours', () => {
  fc.assert(
    fc.property(sentAt, time, time, time, (sent_at, timestamp, start_timestamp, other) => {
      const event = { timestamp, start_timestamp, breadcrumbs: [{ timestamp: other }], spans: [{ timestamp: other }] };
      const report = { timestamp: other, discarded_events: [{ reason: 'a', category: 'error', quantity: 1 }] };
      const lines = [{ sent_at }, { type: 'event' }, event, { type: 'client_report' }, report];
      const { envelope } = parseEnvelope(Buffer.from(lines.map((line) => JSON.stringify(line)).join('\n')));
      const { events, refused } = processEnvelope(inputOf(envelope.items, { envelope }));
      expect(refused.filter(({ reason }) => reason === 'internal')).toEqual([]);
      expect(events).toHaveLength(1);
      const { received } = JSON.parse(String(Buffer.from(events[0]?.payload ?? []))) as { received: number };
      expect(received).toBeGreaterThan(0);
    }),
    { numRuns: 500 },
  );
});
