import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadOrCreateDevelopmentKeys } from '#lib/auth/development-keys.ts';
import { developmentRelayToken } from '#lib/auth/development-relay-token.ts';
import { ConfigError, Env } from '#lib/server/env.ts';
import { Refusal } from '#lib/server/refusal.ts';
import { Relays } from './relays.ts';
import { configSettings, requireRelays } from './settings.ts';

const TOKEN = 'a-token-of-at-least-32-characters';
const newKey = () => generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }).x ?? '';
const production = (values: Record<string, string>) =>
  configSettings(new Env({ NODE_ENV: 'production', ...values }), undefined);

test('production needs relays, and refuses development tokens, short ones and what is no key', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'tideway-keys-'));
  try {
    const development = developmentRelayToken(await loadOrCreateDevelopmentKeys(dir));
    expect(() => requireRelays(production({}).relays)).toThrow('RELAY_TOKEN');
    for (const values of [
      { RELAY_TOKEN: 'short' },
      { RELAY_TOKEN: `${TOKEN},${development}` },
      { RELAY_EXTERNAL_TOKEN: development },
      { RELAY_TRUSTED_KEYS: 'no key' },
      { RELAY_TRUSTED_KEYS: Array.from({ length: 17 }, newKey).join(',') },
    ]) {
      expect(() => production(values)).toThrow(ConfigError);
    }
    const twice = newKey();
    expect(() => production({ RELAY_TRUSTED_KEYS: twice, RELAY_EXTERNAL_KEYS: twice })).toThrow('twice');
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test('tokens and keys, ours and of others', () => {
  const [ours, theirs] = [newKey(), newKey()];
  const { relays: options } = production({
    RELAY_TOKEN: ` ${TOKEN}-1 , ${TOKEN}-2`,
    RELAY_EXTERNAL_TOKEN: `${TOKEN}-3`,
    RELAY_TRUSTED_KEYS: `${ours}=`,
    RELAY_EXTERNAL_KEYS: theirs,
  });
  const relays = new Relays(options);
  expect(relays.authenticate(`Bearer ${TOKEN}-1`).isTrusted).toBe(true);
  expect(relays.authenticate(`Bearer ${TOKEN}-2`).isTrusted).toBe(true);
  expect(relays.authenticate(`Bearer ${TOKEN}-3`).isTrusted).toBe(false);
  for (const bad of [undefined, 'Bearer', `Bearer ${TOKEN}`, TOKEN]) {
    expect(() => relays.authenticate(bad)).toThrow(Refusal);
  }
  expect(relays.findKey(ours)?.isTrusted).toBe(true);
  expect(relays.findKey(`${theirs}=`)?.isTrusted).toBe(false);
  expect(relays.findKey(newKey())).toBeUndefined();
});

test('development makes a token, unless one is set', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'tideway-keys-'));
  try {
    const keys = await loadOrCreateDevelopmentKeys(dir);
    const made = developmentRelayToken(keys);
    const relays = new Relays(configSettings(new Env({}), keys).relays);
    expect(relays.authenticate(`Bearer ${made}`).isTrusted).toBe(true);
    const set = new Relays(configSettings(new Env({ RELAY_TOKEN: TOKEN }), keys).relays);
    expect(() => set.authenticate(`Bearer ${made}`)).toThrow(Refusal);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
