import { afterAll, beforeAll } from 'vitest';
import { type KafkaServer, startKafka } from '../../test/support/kafka.ts';
import { describeLogContract } from './log-contract.ts';
import { describeLogFailures } from './log-failures.ts';
import type { LogSpace } from './log-harness.ts';

let shared: KafkaServer;
beforeAll(async () => {
  shared = await startKafka();
});
afterAll(() => shared.stop());

/** Topics and groups are each test's own. */
async function newSpace(): Promise<LogSpace> {
  return {
    options: { kafka: { brokers: [shared.brokers] } },
    breakAppends: async () => {
      await shared.kill();
      return () => shared.restart();
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

describeLogContract('Kafka', { atOnce: true, newSpace });
// One after the other, as they kill what they share.
describeLogFailures('Kafka', { atOnce: false, newSpace });
