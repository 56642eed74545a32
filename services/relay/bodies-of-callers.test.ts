import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { until } from '../../test/support/until.ts';
import { BodiesOfCallers } from './bodies-of-callers.ts';
import { AUTH, EVENT_ID, startEndpoint } from './http-testing.ts';

const ENVELOPE = `{"event_id":"${EVENT_ID}"}\n{"type":"event"}\n{}\n`;
const PATH = '/api/42/envelope/';

/** Sends all but the last byte of an envelope, as the edge passes it on. */
function begin(port: number, forwardedFor: string) {
  const socket = connect({ port, host: '127.0.0.1' });
  onTestFinished(() => void socket.destroy());
  const headers = { Host: 'a', ...AUTH, 'X-Forwarded-For': forwardedFor, 'Content-Length': ENVELOPE.length };
  const lines = Object.entries({ ...headers, Connection: 'close' }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`POST ${PATH} HTTP/1.1\r\n${lines.join('')}\r\n${ENVELOPE.slice(0, -1)}`);
  const answer = text(socket).catch(() => 'cut');
  return { socket, answer, finish: () => socket.write(ENVELOPE.slice(-1)) };
}

test('a caller who has as many bodies under way as it may is told so, whatever it says of itself, and no other', async () => {
  const { port, intake, post } = await startEndpoint({ maxBodiesPerAddress: 2, trustedHops: 1 });
  const proxy = '192.0.2.1';
  const ask = (forwardedFor: string) => post(PATH, ENVELOPE, { ...AUTH, 'x-forwarded-for': forwardedFor });
  const isFull = async () => (await ask(`2001:db8:1:2:7::7, ${proxy}`)).status === 429;
  const [first, second] = ['2001:db8:1:2::1', '10.9.9.9, 2001:db8:1:2::2'].map((from) =>
    begin(port, `${from}, ${proxy}`),
  );
  await until('both are being received', isFull);

  const refused = await ask(`203.0.113.9, 2001:db8:1:2::3, ${proxy}`);
  expect(refused.status).toBe(429);
  expect(refused.header('retry-after')).toEqual([expect.stringMatching(/^[1-9]/)]);
  expect(JSON.parse(refused.text)).toMatchObject({ detail: expect.stringContaining('this address') });
  expect(await ask(`2001:db8:1:3::1, ${proxy}`)).toMatchObject({ status: 200 });

  first?.finish();
  expect(await first?.answer).toContain(EVENT_ID);
  await until('there is room again', async () => (await ask(`2001:db8:1:2::3, ${proxy}`)).status === 200);
  // One that is cut makes room as well.
  const third = begin(port, `2001:db8:1:2::4, ${proxy}`);
  await until('both are being received', isFull);
  third.socket.destroy();
  await until('there is room again', async () => !(await isFull()));
  second?.finish();
  expect(await second?.answer).toContain(EVENT_ID);
  expect(intake.received.length).toBeGreaterThanOrEqual(4);
});

test('whoever runs it is told of a caller that has all it may, and not of each refusal', async () => {
  const told: string[] = [];
  const { port, post } = await startEndpoint({
    maxBodiesPerAddress: 1,
    onAddressFull: (address) => told.push(address),
  });
  const ask = async (from: string) => (await post(PATH, ENVELOPE, { ...AUTH, 'x-forwarded-for': from })).status;
  const under = begin(port, '203.0.113.1');
  await until('it is being received', async () => (await ask('203.0.113.1')) === 429);
  expect([await ask('203.0.113.1'), await ask('203.0.113.2')]).toEqual([429, 200]);
  expect(told).toEqual(['203.0.113.1']);
  under.finish();
  expect(await under.answer).toContain(EVENT_ID);
});

test('0 is any number', () => {
  const bodies = new BodiesOfCallers(0);
  for (let n = 0; n < 10_000; n++) expect(bodies.begin('a')).toBe(true);
  bodies.end('a');
  expect(bodies.callers).toBe(0);
});

test('no caller has more than it may, and who has none is forgotten', () => {
  const steps = fc.array(fc.record({ caller: fc.constantFrom('a', 'b', 'c'), begins: fc.boolean() }));
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 3 }), (story, maxEach) => {
      const bodies = new BodiesOfCallers(maxEach);
      const counts: Record<string, number> = { a: 0, b: 0, c: 0 };
      for (const { caller, begins } of story) {
        const count = counts[caller] ?? 0;
        if (begins) {
          expect(bodies.begin(caller)).toBe(count < maxEach);
          counts[caller] = Math.min(maxEach, count + 1);
        } else if (count > 0) {
          bodies.end(caller);
          counts[caller] = count - 1;
        }
        expect(bodies.callers).toBe(Object.values(counts).filter((n) => n > 0).length);
      }
    }),
  );
});
