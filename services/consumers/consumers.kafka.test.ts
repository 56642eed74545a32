import { afterAll, beforeAll } from 'vitest';
import { type KafkaServer, startKafka } from '../../test/support/kafka.ts';
import { type PostgresServer, startPostgres } from '../../test/support/postgres.ts';
import { describeKills } from './consumers-kills.ts';

let kafka: KafkaServer;
let postgres: PostgresServer;
beforeAll(async () => {
  [kafka, postgres] = await Promise.all([startKafka(), startPostgres()]);
});
afterAll(() => Promise.all([kafka.stop(), postgres.stop()]));

describeKills('on Kafka and PostgreSQL', {
  rounds: 6,
  maxLifeMs: 3_000,
  newSpace: async () => ({
    data: {
      log: { kafka: { brokers: [kafka.brokers] } },
      store: { databaseUrl: await postgres.createDatabase(), dataDir: '' },
    },
    [Symbol.asyncDispose]: async () => undefined,
  }),
});
