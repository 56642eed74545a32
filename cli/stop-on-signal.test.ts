import { EventEmitter } from 'node:events';
import { expect, it } from 'vitest';
import { stopOnSignal } from './stop-on-signal.ts';

it('stops at the first key press, which may arrive twice, and quits at the second', () => {
  const process = new EventEmitter();
  let nowMs = 0;
  let quits = 0;
  const signal = stopOnSignal(
    process,
    () => quits++,
    () => nowMs,
  );
  expect(signal.aborted).toBe(false);
  process.emit('SIGINT');
  nowMs = 20;
  process.emit('SIGINT');
  expect([signal.aborted, quits]).toEqual([true, 0]);
  nowMs = 1_000;
  process.emit('SIGTERM');
  expect(quits).toBe(1);
});
