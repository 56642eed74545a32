import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ControlType } from '#gen/tideway/stream/v1/message_pb.ts';
import { StreamService, type SubscribeResponse } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { createStreamTokenSigner } from '#lib/auth/stream-token-signer.ts';
import { makeKeys } from '#lib/auth/testing.ts';
import { type Deployment, startDeployment } from '../support/deployment.ts';
import { dataOf, type EventsResponse, listen } from '../support/events.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { published } from '../support/story.ts';
import type { ServiceProcess } from '../support/tideway.ts';
import { transports } from '../support/transports.ts';
import { until } from '../support/until.ts';

// Tokens of listeners after they were issued: revoked, or followed by new ones, while streams are open with them. One
// deployment ends streams with their tokens, as a third replica of it that the edge doesn't know.
const ORG = 7n;
const keys = makeKeys('EdDSA');
let redis: RedisServer;
let deployment: Deployment;
let cutting: ServiceProcess;
let url: string;
let cuttingUrl: string;

beforeAll(async () => {
  redis = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
  const env = { GATEWAY_JWT_PRIVATE_KEY: keys.privatePem };
  deployment = await startDeployment({ redisUrl: redis.url, replicas: { stream: 2 }, env });
  cutting = await deployment.start('stream', { GATEWAY_CUT_EXPIRED: '1' });
  url = deployment.edge.url;
  cuttingUrl = `http://127.0.0.1:${cutting.port}`;
});
afterAll(async () => {
  await deployment?.stop();
  await redis?.stop();
});

interface Access {
  readonly token: string;
  readonly tokenId: string;
  readonly channelId: string;
}

async function newToken({ channelId = crypto.randomUUID() as string, ttlSec = 600, now = Date.now } = {}) {
  const settings = { name: 'KEY', privateKeyPem: keys.privatePem, issuer: 'tideway', audience: 'tideway' };
  const token = await createStreamTokenSigner({ ...settings, ttlSec, now }).sign({ orgId: ORG, channelId });
  return { token, tokenId: decodeJwt(token).jti ?? '', channelId } satisfies Access;
}

const eventsUrl = ({ token, channelId }: Access, base = url, more = '') =>
  `${base}/events/${ORG}?token=${token}&channel_id=${channelId}${more}`;

/** Asks in the deployment's name, as JSON. */
async function post(path: string, body: object, token?: string) {
  const response = await fetch(`${url}/v1/organizations/${ORG}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as { message?: string } };
}
const revoke = (body: object) => post('/streams:revoke', body);
const renew = (to: Access, from: Access, channelId = to.channelId) =>
  post(`/channels/${channelId}:renewToken`, { previous_token_id: from.tokenId }, to.token);

const publishTo = ({ channelId }: Access, sequence = 0) =>
  published(url, deployment.publishToken, { orgId: ORG, channelId, sequence });

const client = (base = url) => createClient(StreamService, createGrpcTransport({ baseUrl: base }));

/** Listens typed, until it is over. */
function subscribe({ token, channelId }: Access, base = url) {
  const heard: SubscribeResponse[] = [];
  const seen = { heard, end: undefined as number | undefined, close: () => closing.abort() };
  const closing = new AbortController();
  const options = { headers: { authorization: `Bearer ${token}` }, signal: closing.signal };
  void (async () => {
    try {
      for await (const response of client(base).subscribe({ orgId: ORG, channelId }, options)) heard.push(response);
      seen.end = 0;
    } catch (error) {
      seen.end = ConnectError.from(error).code;
    }
  })();
  return {
    ...seen,
    get end() {
      return seen.end;
    },
    controls: () =>
      heard.flatMap(({ event }) =>
        event.case === 'control' && event.value.type !== ControlType.HEARTBEAT ? [event.value.type] : [],
      ),
    sequences: () => heard.flatMap(({ event }) => (event.case === 'message' ? [Number(event.value.sequence)] : [])),
  };
}

async function refusalOf(access: Access): Promise<[number, string]> {
  const heard = await listen(eventsUrl(access));
  await until('it is refused, or listens', () => heard.end() !== 'open' || heard.text() !== '');
  heard.close();
  return [heard.status, heard.status === 200 ? '' : heard.text()];
}

const controlsOf = (heard: EventsResponse) =>
  dataOf(heard.events().filter(({ event }) => event === 'control')).map((data) => data.control_type);

describe('revoked', () => {
  test.for([
    ['by its id', ({ tokenId }: Access) => ({ token_id: tokenId })],
    ['with its channel', ({ channelId }: Access) => ({ channel_id: channelId })],
  ] as const)('%s, a token ends its streams on every replica, and begins none', async ([, body]) => {
    const access = await newToken();
    const other = await newToken();
    const bases = deployment.stream.map(({ port }) => `http://127.0.0.1:${port}`);
    const plain = await Promise.all(bases.map((base) => listen(eventsUrl(access, base))));
    const asking = await Promise.all([url, ...bases].map((base) => listen(eventsUrl(access, base, '&controls=1'))));
    const typed = [url, ...bases].map((base) => subscribe(access, base));
    const others = [await listen(eventsUrl(other)), subscribe(other)] as const;
    await publishTo(access, 1);
    await publishTo(other, 1);
    await until('everybody listens', () => [...typed, others[1]].every(({ heard }) => heard.length > 0));

    expect(await revoke(body(access))).toEqual({ status: 200, body: {} });
    const all = [...plain, ...asking];
    await until('all are over', () => all.every(({ end }) => end() === 'whole') && typed.every(({ end }) => end === 0));

    for (const heard of plain) expect(controlsOf(heard)).toEqual([]);
    for (const heard of asking) {
      expect(controlsOf(heard)).toEqual(['token_revoked']);
      // The cursor stays: only a wrong token is in the way.
      expect(heard.events().at(-1)?.id).toBeUndefined();
    }
    for (const listener of typed) expect(listener.controls()).toEqual([ControlType.TOKEN_REVOKED]);
    for (let n = 0; n < 4; n++) expect(await refusalOf(access)).toEqual([401, 'Token revoked']);
    for (const { name, open } of transports) {
      const calling = createClient(StreamService, open(url)).subscribe(
        { orgId: ORG, channelId: access.channelId },
        { headers: { authorization: `Bearer ${access.token}` } },
      );
      const failure = await (async () => {
        for await (const _ of calling);
      })().catch(ConnectError.from);
      expect([name, failure]).toMatchObject([name, { code: Code.Unauthenticated, rawMessage: 'Token revoked' }]);
    }
    await publishTo(other, 2);
    await others[0].received(2);
    await until('the other goes on', () => others[1].sequences().length === 2);
    others[0].close();
    others[1].close();
  });

  test('with one of its channels, a token of several is', async () => {
    const channelIds = [crypto.randomUUID(), crypto.randomUUID()];
    const settings = {
      name: 'KEY',
      privateKeyPem: keys.privatePem,
      issuer: 'tideway',
      audience: 'tideway',
      ttlSec: 600,
    };
    const token = await createStreamTokenSigner(settings).sign({ orgId: ORG, channelId: channelIds });
    const several = `${url}/events/${ORG}?token=${token}&channel_ids=${channelIds.join(',')}&controls=1`;
    const heard = await listen(several);
    const headers = { authorization: `Bearer ${token}` };
    const typed: number[] = [];
    const over = (async () => {
      for await (const { event } of client().subscribeMany({ orgId: ORG, channelIds }, { headers })) {
        if (event.case === 'control') typed.push(event.value.type);
      }
    })();
    await until('it listens', () => typed.length > 0);
    expect((await revoke({ channel_id: channelIds[1] })).status).toBe(200);
    await heard.ended();
    await over;
    expect(controlsOf(heard)).toEqual(['token_revoked']);
    expect(typed.at(-1)).toBe(ControlType.TOKEN_REVOKED);
    expect((await listen(several)).status).toBe(401);
  });

  test('a channel takes tokens again that are issued after that', async () => {
    const { channelId } = await newToken();
    const earlier = await newToken({ channelId, now: () => Date.now() - 5_000 });
    await revoke({ channel_id: channelId });
    const later = await newToken({ channelId, now: () => Date.now() + 1_000 });
    expect((await refusalOf(earlier))[0]).toBe(401);
    const heard = await listen(eventsUrl(later));
    expect(heard.status).toBe(200);
    heard.close();
  });

  test('it stays so over a restart of Redis and of a replica', async () => {
    const access = await newToken();
    await revoke({ token_id: access.tokenId });
    await redis.restart();
    deployment.stream[0]?.kill('SIGKILL');
    await deployment.restart('stream', 0);
    await deployment.untilInUse('stream', 0);
    await until('Redis is back', async () => (await refusalOf(access))[0] === 401);
    for (let n = 0; n < 4; n++) expect(await refusalOf(access)).toEqual([401, 'Token revoked']);
  });

  test('neither cancels nor renews', async () => {
    const access = await newToken();
    const newer = await newToken(access);
    await revoke({ token_id: newer.tokenId });
    expect(await renew(newer, access)).toMatchObject({ status: 401, body: { message: 'Token revoked' } });
  });

  test('what is revoked while the broker is away was not, and may be said again', async () => {
    const access = await newToken();
    const heard = await listen(eventsUrl(access));
    redis.pause();
    expect((await revoke({ token_id: access.tokenId })).status).toBe(503);
    redis.resume();
    await until('it is revoked', async () => (await revoke({ token_id: access.tokenId })).status === 200);
    await heard.ended();
  });

  test.for([
    [{}, 'tokens'],
    [{ token_id: '' }, 'token_id'],
    [{ channel_id: 'x' }, 'channel_id'],
  ] as const)('%j is refused', async ([body, field]) => {
    const { status, body: refusal } = await revoke(body);
    expect([status, refusal.message]).toEqual([400, expect.stringContaining(field)]);
  });
});

describe('where streams end with their tokens', () => {
  const shortLived = (channelId?: string) =>
    // Ends in two seconds; five more for clocks that differ, and two for a new one to arrive.
    newToken({ ...(channelId && { channelId }), ttlSec: 2 });

  test('each hears it in its way, and resumes with a new one where it was', async () => {
    const access = await shortLived();
    const asking = await listen(eventsUrl(access, cuttingUrl, '&controls=1'));
    const plain = await listen(eventsUrl(access, cuttingUrl));
    const typed = subscribe(access, cuttingUrl);
    // As Conduit: elsewhere it stays.
    const elsewhere = await listen(eventsUrl(access));
    await publishTo(access, 1);
    await Promise.all([asking, plain, elsewhere].map((heard) => heard.received(1)));
    await asking.ended();
    await plain.ended();
    await until('typed, too', () => typed.end === 0);
    expect(controlsOf(asking)).toEqual(['token_ending', 'token_ended']);
    expect(controlsOf(plain)).toEqual(['server_draining']);
    expect(typed.controls()).toEqual([ControlType.TOKEN_ENDING, ControlType.TOKEN_ENDED]);
    expect(elsewhere.end()).toBe('open');

    await publishTo(access, 2);
    const id = asking.events().findLast((event) => event.id !== undefined)?.id ?? '';
    const next = await newToken(access);
    const resumed = await listen(eventsUrl(next, cuttingUrl), { 'Last-Event-ID': id });
    expect(dataOf(await resumed.received(1)).map(({ sequence }) => sequence)).toEqual([2]);
    expect((await refusalOf(access))[0]).toBe(401);
    for (const heard of [resumed, elsewhere]) heard.close();
  });

  test('a new token is presented for open streams anywhere, and they go on without a break', async () => {
    const first = await shortLived();
    const unrenewed = await shortLived(first.channelId);
    const held = await listen(eventsUrl(first, cuttingUrl, '&controls=1'));
    const typed = subscribe(first, cuttingUrl);
    const left = await listen(eventsUrl(unrenewed, cuttingUrl, '&controls=1'));
    await publishTo(first, 1);
    await until('it is told to', () => controlsOf(held).includes('token_ending') && typed.controls().length > 0);
    // By way of the edge, which knows other replicas alone.
    const second = await newToken(first);
    expect(await renew(second, first)).toEqual({ status: 200, body: {} });
    // Its neighbour shows that the time has come.
    await left.ended();
    await publishTo(first, 2);
    await held.received(2);
    await until('typed, too', () => typed.sequences().length === 2);
    expect([held.end(), typed.end]).toEqual(['open', undefined]);
    expect(controlsOf(held)).toEqual(['token_ending']);
    // They are the new one's.
    await revoke({ token_id: first.tokenId });
    await publishTo(first, 3);
    await held.received(3);
    await revoke({ token_id: second.tokenId });
    await held.ended();
    await until('typed, too', () => typed.end === 0);
    expect(typed.sequences()).toEqual([1, 2, 3]);
  });

  test('a token is no new one for another channel, nor without its holder', async () => {
    const first = await shortLived();
    const other = await newToken();
    expect((await renew(other, first, first.channelId)).status).toBe(403);
    expect((await renew(other, first)).status).toBe(200);
    expect((await renew(first, first)).status).toBe(400);
    expect((await renew({ ...other, token: 'nonsense' }, first)).status).toBe(401);
    expect((await renew(other, { ...first, tokenId: '' })).status).toBe(400);
    const held = await listen(eventsUrl(first, cuttingUrl));
    await held.ended();
  });
});

test('a deployment in production takes revocations from who may start streams', async () => {
  const production = await deployment.start('stream', {
    NODE_ENV: 'production',
    TIDEWAY_API_TOKEN: 'x'.repeat(40),
    GATEWAY_JWT_ISSUER: 'tideway',
    GATEWAY_JWT_AUDIENCE: 'tideway',
    GATEWAY_JWT_PUBLIC_KEY: keys.publicPem,
  });
  const calling = client(`http://127.0.0.1:${production.port}`);
  const access = await newToken();
  const request = { organization: `${ORG}`, tokens: { case: 'tokenId', value: access.tokenId } } as const;
  const failure = async (headers: Record<string, string>) => {
    const error = await calling.revokeTokens(request, { headers }).catch(ConnectError.from);
    return error instanceof ConnectError ? error.code : undefined;
  };
  expect(await failure({})).toBe(Code.Unauthenticated);
  expect(await failure({ authorization: `Bearer ${access.token}` })).toBe(Code.Unauthenticated);
  expect((await refusalOf(access))[0]).toBe(200);
  expect(await failure({ authorization: `Bearer ${'x'.repeat(40)}` })).toBeUndefined();
  expect((await refusalOf(access))[0]).toBe(401);
});
