import { expect, test } from 'vitest';
import { ConfigError, Env } from '#lib/server/env.ts';
import { relaySettings } from './settings.ts';

const settings = (values: Record<string, string>) =>
  relaySettings(
    new Env({ NODE_ENV: 'production', RELAY_TOKEN: 'a-token-of-at-least-32-characters', ...values }),
    undefined,
  );

test('what may wait and what may be received can be set, in bytes', () => {
  const { maxQueueBytes, maxReceivingBytes } = settings({
    RELAY_QUEUE_MAX_BYTES: '12582912',
    RELAY_RECEIVING_MAX_BYTES: '1099511627776',
  });
  expect(maxQueueBytes).toBe(12 * 1024 * 1024);
  expect(maxReceivingBytes).toBe(2 ** 40);
  expect(() => settings({ RELAY_QUEUE_MAX_BYTES: '1000' })).toThrow(ConfigError);
});
