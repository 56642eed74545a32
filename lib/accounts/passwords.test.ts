import { describe, expect, test } from 'vitest';
import { Passwords, TooManyHashesError } from './passwords.ts';

const CHEAP = { memoryKiB: 64, passes: 1, lanes: 1 };

describe('Passwords', () => {
  test('match what was hashed, and nothing where there is nothing', async () => {
    const passwords = new Passwords({ cost: CHEAP });
    const encoded = await passwords.hash('a good password');
    expect(await passwords.matches('a good password', encoded)).toBe(true);
    expect(await passwords.matches('a bad password', encoded)).toBe(false);
    expect(await passwords.matches('a good password', undefined)).toBe(false);
  });

  test('refuses at once what can not wait, and does all that was taken', async () => {
    const passwords = new Passwords({ cost: CHEAP, maxWaiting: 3 });
    const asked = Array.from({ length: 8 }, () => passwords.hash('a good password'));
    const results = await Promise.allSettled(asked);
    // Two at work and three that wait.
    expect(results.map(({ status }) => status)).toEqual([
      ...Array.from({ length: 5 }, () => 'fulfilled'),
      ...Array.from({ length: 3 }, () => 'rejected'),
    ]);
    await expect(asked[7]).rejects.toThrow(TooManyHashesError);
    expect(await passwords.hash('a good password')).toMatch(/^\$argon2id/);
  });

  test('goes on after a hash that can not be read', async () => {
    const passwords = new Passwords({ cost: CHEAP, maxWaiting: 1 });
    for (let i = 0; i < 5; i++) await expect(passwords.matches('some password', 'nonsense')).rejects.toThrow();
    expect(await passwords.hash('some password')).toMatch(/^\$argon2id/);
  });
});
