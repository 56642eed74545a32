import { describe, expect, test } from 'vitest';
import { Checker, FLAWLESS } from '../support/checker.ts';

const CHANNEL = 'a channel';

function withThreeMessages(): Checker {
  const checker = new Checker();
  for (const n of [1, 2, 3]) checker.acknowledge(CHANNEL, `100-${n}`, n);
  return checker;
}

describe('the checker of failure tests', () => {
  test('finds no fault with each message once, in order', () => {
    const checker = withThreeMessages();
    const receipts = checker.listener(CHANNEL);
    for (const n of [1, 2, 3]) receipts.record(`100-${n}`, n);
    expect(checker.verdict()).toEqual(FLAWLESS);
  });

  test('finds what is lost, double, out of order and made up', () => {
    const checker = withThreeMessages();
    const receipts = checker.listener(CHANNEL);
    for (const n of [3, 1, 1, 9]) receipts.record(`100-${n}`, n);
    expect(checker.verdict()).toEqual({ lost: 1, double: 1, outOfOrder: 1, unknown: 1 });
  });

  test('finds a message that was stored twice, in the answers and in the stream', () => {
    const checker = withThreeMessages();
    checker.acknowledge(CHANNEL, '100-4', 3);
    const receipts = checker.listener(CHANNEL);
    for (const [id, n] of [[1, 1] as const, [2, 2] as const, [3, 3] as const, [4, 3] as const]) {
      receipts.record(`100-${id}`, n);
    }
    expect(checker.verdict()).toEqual({ ...FLAWLESS, double: 2 });
  });

  test('expects of a broker that lost data what it still has', () => {
    const checker = withThreeMessages();
    const receipts = checker.listener(CHANNEL);
    receipts.record('100-1', 1);
    expect(checker.verdict(new Map([[CHANNEL, new Set(['100-1', '100-3'])]]))).toEqual({ ...FLAWLESS, lost: 1 });
  });
});
