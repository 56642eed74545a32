import { describe, expect, test } from 'vitest';
import { HASH_COST, type HashCost, hashPassword, isOutdated, verifyPassword } from './password-hash.ts';

const CHEAP: HashCost = { memoryKiB: 64, passes: 1, lanes: 1 };

describe('password hashes', () => {
  test('are argon2id of the cost that we promise, in the form that others read', async () => {
    const encoded = await hashPassword('correct horse battery staple');
    expect(encoded).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect(await verifyPassword('correct horse battery staple', encoded)).toBe(true);
    expect(await verifyPassword('correct horse battery stapl', encoded)).toBe(false);
  });

  test('are read at whatever cost and length they were made', async () => {
    const encoded = '$argon2id$v=19$m=64,t=1,p=2$c29tZXNhbHRzb21lc2FsdA$YDWZ7SC7/FISnTlw8W9X9w';
    expect(await verifyPassword('password', encoded)).toBe(true);
    expect(await verifyPassword('Password', encoded)).toBe(false);
  });

  test('differ for the same password', async () => {
    expect(await hashPassword('same password', CHEAP)).not.toBe(await hashPassword('same password', CHEAP));
  });

  test('are the same for letters that keyboards write in two ways', async () => {
    const encoded = await hashPassword('caf\u00e9 au lait', CHEAP);
    expect(await verifyPassword('cafe\u0301 au lait', encoded)).toBe(true);
  });

  test('take the longest password there can be', async () => {
    const password = '\u{1F511}'.repeat(1024);
    expect(await verifyPassword(password, await hashPassword(password, CHEAP))).toBe(true);
  });

  test('are outdated at any other cost', async () => {
    const encoded = await hashPassword('some password', CHEAP);
    expect(isOutdated(encoded, CHEAP)).toBe(false);
    expect(isOutdated(encoded, HASH_COST)).toBe(true);
    expect(isOutdated(encoded, { ...CHEAP, passes: 2 })).toBe(true);
  });

  test.for(['', 'plain', '$2b$10$abc', '$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21l$AAAAAAAAAAAAAAAAAAAAAA'])(
    'are not %j',
    async (encoded) => {
      await expect(verifyPassword('password', encoded)).rejects.toThrow('no argon2id hash');
    },
  );
});
