import { create } from '@bufbuild/protobuf';
import { TimestampSchema, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { NOW_MS, openControl } from './control-testing.ts';

const control = openControl();

test('a token ends in the future, at a time that there is', async () => {
  const { newOrganization, operator } = control();
  const { slug: organization } = await newOrganization();
  const ending = (seconds: bigint, nanos = 0) =>
    operator.createApiToken({
      organization,
      create: { name: 'CI', scopes: ['projects:read'], expireTime: create(TimestampSchema, { seconds, nanos }) },
    });
  const lastSecond = 253_402_300_799n;
  expect(await ending(lastSecond)).toMatchObject({ expireTime: { seconds: lastSecond } });
  for (const seconds of [BigInt(NOW_MS) / 1000n, -1n, lastSecond + 1n, 2n ** 62n, -(2n ** 63n)]) {
    await expect(ending(seconds), `${seconds}`).rejects.toMatchObject({ code: Code.InvalidArgument });
  }
});

test('a token that ends makes none that ends later, or never', async () => {
  const { newOrganization, store, token } = control();
  const { id, slug: organization } = await newOrganization();
  const [scopes, endMs] = [['organization:write'], NOW_MS + 60_000];
  const maker = await store.apiTokens.create('system', id, { name: 'Leaked', scopes, expiresMs: endMs });
  const make = (expiresMs?: number) => {
    const expireTime = expiresMs === undefined ? undefined : timestampFromMs(expiresMs);
    return token(maker.token).createApiToken({ organization, create: { name: 'CI', scopes, expireTime } });
  };
  const text = 'create.expire_time: must not be after the end of the token that makes it';
  for (const later of [undefined, endMs + 1]) {
    await expect(make(later)).rejects.toMatchObject({ code: Code.InvalidArgument, rawMessage: text });
  }
  expect(await make(endMs)).toMatchObject({ expireTime: timestampFromMs(endMs) });
});
