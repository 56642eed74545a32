import { Writable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { RedisTurns } from './redis-turns.ts';

/** What is written together. */
function recorder() {
  const writes: string[][] = [];
  const stream = new Writable({
    decodeStrings: false,
    write(chunk, _, done) {
      writes.push([chunk]);
      done();
    },
    writev(chunks, done) {
      writes.push(chunks.map(({ chunk }) => chunk));
      done();
    },
  });
  const turns = RedisTurns.of(stream);
  const send = (...commands: string[]) => {
    for (const command of commands) {
      turns.enter();
      stream.write(command);
    }
  };
  return { writes, stream, turns, send };
}

test('the commands of a turn are one write, and those that come until all are answered are the next', async () => {
  const { writes, turns, send } = recorder();
  send('a', 'b');
  expect(writes).toEqual([]);
  await turn();
  send('c');
  await turn();
  turns.leave();
  send('d');
  await turn();
  expect(writes).toEqual([['a', 'b']]);
  turns.leave();
  send('e');
  await turn();
  expect(writes).toEqual([
    ['a', 'b'],
    ['c', 'd', 'e'],
  ]);
  for (let n = 0; n < 3; n++) turns.leave();
  send('f');
  await turn();
  expect(writes[2]).toEqual(['f']);
});

test('what others write meanwhile goes with it, and a stream that ends sends what is held', async () => {
  const { writes, stream, send } = recorder();
  send('a');
  await turn();
  send('b');
  stream.write('other');
  stream.end();
  await turn();
  expect(writes).toEqual([['a'], ['b', 'other']]);
});

test('each connection has its own', () => {
  const { stream, turns } = recorder();
  expect(RedisTurns.of(stream)).toBe(turns);
  expect(recorder().turns).not.toBe(turns);
});
