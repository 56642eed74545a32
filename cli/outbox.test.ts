import { describe, expect, it } from 'vitest';
import { Outbox } from './outbox.ts';

async function* count(to: number, onPull: (n: number) => void = () => {}): AsyncGenerator<number> {
  for (let n = 0; n < to; n++) {
    onPull(n);
    yield n;
  }
}

describe('Outbox', () => {
  it('keeps what is not acknowledged', async () => {
    const outbox = new Outbox(count(3), 10);
    expect(await outbox.at(0)).toBe(0);
    expect(await outbox.at(1)).toBe(1);
    expect(outbox.acknowledge()).toBe(0);
    expect(outbox.acknowledged).toBe(1);
    expect(await outbox.at(1)).toBe(1);
    expect(await outbox.at(2)).toBe(2);
    expect(await outbox.at(3)).toBeUndefined();
    expect(outbox.unacknowledged).toBe(2);
  });

  it('reads no further than its bound until something is acknowledged', async () => {
    const pulled: number[] = [];
    const outbox = new Outbox(
      count(5, (n) => pulled.push(n)),
      2,
    );
    await outbox.at(1);
    const third = outbox.at(2);
    await new Promise(setImmediate);
    expect(pulled).toEqual([0, 1]);
    outbox.acknowledge();
    outbox.acknowledge();
    expect(await third).toBe(2);
    expect(await outbox.at(3)).toBe(3);
    expect(pulled).toEqual([0, 1, 2, 3]);
  });

  it('does not lose an item that arrives after the waiting call was cut', async () => {
    const arrival = Promise.withResolvers<string>();
    async function* slow() {
      yield await arrival.promise;
    }
    const outbox = new Outbox(slow(), 2);
    const call = new AbortController();
    const waiting = outbox.at(0, call.signal);
    call.abort();
    expect(await waiting).toBeUndefined();
    arrival.resolve('late');
    expect(await outbox.at(0)).toBe('late');
  });

  it('ends where its source fails, and says why', async () => {
    async function* broken() {
      yield 1;
      throw new Error('line 2');
    }
    const outbox = new Outbox(broken(), 10);
    expect(await outbox.at(0)).toBe(1);
    expect(await outbox.at(1)).toBeUndefined();
    expect(outbox.failure).toMatchObject({ message: 'line 2' });
  });
});
