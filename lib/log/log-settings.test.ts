import { expect, test } from 'vitest';
import { ConfigError, Env } from '#lib/server/env.ts';
import { logSettings } from './log-settings.ts';

const DAY_MS = 86_400_000;

const settings = (values: Record<string, string>) => logSettings(new Env(values), '/data');

test('without Kafka the log is in the data folder', () => {
  expect(settings({})).toEqual({ dataDir: '/data', retentionMs: 7 * DAY_MS });
  expect(settings({ LOG_MAX_FILE_MB: '2', KAFKA_BROKERS: '' })).toMatchObject({ maxFileBytes: 2 * 1024 * 1024 });
});

test('Kafka is named by some of its brokers', () => {
  expect(
    settings({
      KAFKA_BROKERS: 'a.example:9092, [::1]:9093,',
      KAFKA_REPLICAS: '3',
      KAFKA_TLS: 'true',
      KAFKA_SASL_USERNAME: 'tideway',
      KAFKA_SASL_PASSWORD: 'secret',
    }),
  ).toMatchObject({
    kafka: {
      brokers: ['a.example:9092', '[::1]:9093'],
      tls: {},
      sasl: { mechanism: 'SCRAM-SHA-512', username: 'tideway', password: 'secret' },
    },
    partitions: 8,
    replicas: 3,
  });
  expect(settings({ KAFKA_BROKERS: 'a:1' })).toMatchObject({ kafka: { tls: undefined, sasl: undefined } });
});

test.each([
  { KAFKA_BROKERS: 'a' },
  { KAFKA_BROKERS: 'kafka://a:9092' },
  { KAFKA_BROKERS: 'a:1', KAFKA_SASL_USERNAME: 'u' },
  { KAFKA_BROKERS: 'a:1', KAFKA_SASL_USERNAME: 'u', KAFKA_SASL_PASSWORD: 'p', KAFKA_SASL_MECHANISM: 'GSSAPI' },
  { KAFKA_BROKERS: 'a:1', KAFKA_TLS_CA_FILE: '/there/is/none' },
])('%j is refused', (values: Record<string, string>) => {
  expect(() => settings(values)).toThrow(ConfigError);
});
