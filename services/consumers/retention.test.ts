import { expect, test } from 'vitest';
import { StoreUnavailableError } from '#lib/sql/database-errors.ts';
import { until } from '../../test/support/until.ts';
import { KeptReports } from './consumers-testing.ts';
import { startRetention } from './retention.ts';

test('it goes on soon while there is more, also after a failure, and then later', async () => {
  const answers = [true, new StoreUnavailableError('away'), true, false];
  const calls: number[] = [];
  const store = {
    async deleteExpired(nowMs: number): Promise<boolean> {
      calls.push(nowMs);
      const answer = answers[calls.length - 1] ?? false;
      if (answer instanceof Error) throw answer;
      return answer;
    },
  };
  const reports = new KeptReports();
  const retention = startRetention({ store, reports: reports.add, now: () => 5, pauses: { more: 1, failed: 1 } });
  await until('there is no more', () => calls.length === 4);
  await retention.stop();
  await retention.stop();
  expect(calls).toEqual([5, 5, 5, 5]);
  expect(reports.messages).toEqual(['what has expired could not be deleted']);
});
