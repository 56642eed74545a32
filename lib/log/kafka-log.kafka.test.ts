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

function spaceOn(server: KafkaServer, end: () => Promise<void>): LogSpace {
  return {
    options: { kafka: { brokers: [server.brokers] } },
    breakAppends: async () => {
      await server.kill();
      return () => server.restart();
    },
    [Symbol.asyncDispose]: end,
  };
}

describeLogContract('Kafka', { newSpace: async () => spaceOn(shared, async () => undefined) });
describeLogFailures('Kafka', {
  newSpace: async () => {
    const server = await startKafka();
    return spaceOn(server, () => server.stop());
  },
});
