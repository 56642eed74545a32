import { create } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { CreateApiTokenRequestSchema } from '#gen/tideway/control/v1/control_service_pb.ts';
import { type CallerVerifier, settingsToken, TokensUnavailableError, tokenPrincipal } from '#lib/auth/principal.ts';
import { Gate } from './gate.ts';

const bearer = (token: string) => new Headers({ authorization: `Bearer ${token}` });
const away: CallerVerifier = {
  authenticate: async () => {
    throw new TokensUnavailableError('away');
  },
};

describe('callers', () => {
  const gate = new Gate({
    callers: [settingsToken('first', ['projects:read']), settingsToken('second', ['events:read'])],
  });

  test('are let in by the first verifier that knows them', async () => {
    const principal = await gate.authenticateCaller(bearer('second'));
    expect(await principal.scopesIn(1n)).toEqual(new Set(['events:read']));
  });

  test.each([
    [new Headers(), 'missing_authorization'],
    [new Headers({ authorization: 'Basic x' }), 'invalid_authorization'],
    [bearer('third'), 'api_token_invalid'],
  ])('that nobody knows are told why', async (headers, reason) => {
    await expect(gate.authenticateCaller(headers)).rejects.toMatchObject({ reason, status: 401 });
  });

  test('are let in nowhere without a verifier', async () => {
    await expect(new Gate({}).authenticateCaller(bearer('first'))).rejects.toMatchObject({
      reason: 'api_token_invalid',
    });
  });

  test('whose tokens can’t be checked are not refused for good', async () => {
    const refused = new Gate({ callers: [away] }).authenticateCaller(bearer('x'));
    await expect(refused).rejects.toMatchObject({ reason: 'control_away', status: 503, retryAfterSec: 1 });
  });
});

describe('starters', () => {
  test('are anybody where it says so', async () => {
    expect(await new Gate({ starters: 'anybody' }).authenticateStarter(new Headers())).toBeUndefined();
  });

  test.each([[undefined], [[]]])('are nobody where none are known', async (starters) => {
    const gate = new Gate(starters === undefined ? {} : { starters });
    await expect(gate.authenticateStarter(bearer('x'))).rejects.toMatchObject({ reason: 'no_starters', status: 412 });
  });
});

describe('scopes', () => {
  const gate = new Gate({});
  const principal = tokenPrincipal({ id: 'a', organizationId: 7n, scopes: ['projects:read'] });

  test('one that is there', async () => {
    await gate.requireScope(principal, 7n, 'projects:read');
  });

  test('one that is missing is named', async () => {
    await expect(gate.requireScope(principal, 7n, 'projects:write')).rejects.toMatchObject({
      reason: 'scope_missing',
      message: 'This needs the scope projects:write',
    });
  });

  test('in another organization nothing is said to be there', async () => {
    await expect(gate.requireScope(principal, 8n, 'projects:write')).rejects.toMatchObject({
      reason: 'not_found',
      message: 'Not found',
    });
  });
});

test('a violation says where it is, in lists too', () => {
  const request = create(CreateApiTokenRequestSchema, {
    organization: 'acme',
    create: { name: 'x', scopes: ['projects:read', 'nope'] },
  });
  const validate = () => new Gate({}).validate(CreateApiTokenRequestSchema, request);
  expect(validate).toThrow(
    expect.objectContaining({ violations: [expect.objectContaining({ field: 'create.scopes[1]' })] }),
  );
});

describe('claims', () => {
  const gate = new Gate({});
  const [one, other, third] = ['1', '2', '3'].map((n) => `f3b5c1de-0f0a-4c58-9a3c-2f1d7f4f9c1${n}`) as [
    string,
    string,
    string,
  ];

  test.each([
    [{}, [one, other, third]],
    [{ channelId: one }, [one]],
    [{ channelIds: [one, other] }, [one, other]],
    [{ channelId: one, channelIds: [other] }, [one, other]],
    [{ channelIds: [] }, []],
    [{ orgId: 8n, channelIds: [one] }, []],
  ])('%o are good for channels %o', (claims, good) => {
    const isGood = (channelId: string) => {
      try {
        gate.requireClaims(claims, 7n, channelId.toUpperCase());
        return true;
      } catch (error) {
        expect(error).toMatchObject({ reason: 'claims_differ', status: 403 });
        return false;
      }
    };
    expect([one, other, third].filter(isGood)).toEqual(good);
  });
});
