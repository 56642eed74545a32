import { once } from 'node:events';
import { createServer, type Http2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { type Client, Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import {
  connectNodeAdapter,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from '@connectrpc/connect-node';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Health as HealthService } from '#gen/grpc/health/v1/health_pb.ts';
import { createHealth, type Health, ServingStatus } from './health.ts';

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN, UNKNOWN } = ServingStatus;
const MAX_WATCHERS = 3;

let health: Health;
let server: Http2Server;
let cut: AbortController;

beforeEach(async () => {
  cut = new AbortController();
  health = createHealth({ maxWatchers: MAX_WATCHERS });
  server = createServer(connectNodeAdapter({ routes: (router) => health.routes(router) }));
  await once(server.listen(0, '127.0.0.1'), 'listening');
});
afterEach(async () => {
  cut.abort();
  health.shutdown();
  await new Promise((resolve) => server.close(resolve));
});

function clientOf(
  create: (options: { baseUrl: string; httpVersion: '2'; idleConnectionTimeoutMs: number }) => Transport,
) {
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return createClient(HealthService, create({ baseUrl, httpVersion: '2', idleConnectionTimeoutMs: 1 }));
}

/** Reads a watch one message at a time. */
function watch(client: Client<typeof HealthService>, service: string, signal = cut.signal) {
  const messages = client.watch({ service }, { signal })[Symbol.asyncIterator]();
  return {
    next: async () => {
      const { value, done } = await messages.next();
      return done ? 'end' : (value.status as ServingStatus);
    },
  };
}

const codeOf = async (promise: Promise<unknown>): Promise<Code | undefined> => {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => ConnectError.from(reason),
  );
  return error?.code;
};

describe.each([
  ['gRPC', createGrpcTransport],
  ['gRPC-Web', createGrpcWebTransport],
  ['Connect', createConnectTransport],
] as const)('over %s', (_, createTransport) => {
  test('Check answers what was set, NOT_FOUND for what was not', async () => {
    const client = clientOf(createTransport);
    expect(await codeOf(client.check({}))).toBe(Code.NotFound);
    health.set('', SERVING);
    health.set('acme.Service', NOT_SERVING);
    expect((await client.check({})).status).toBe(SERVING);
    expect((await client.check({ service: 'acme.Service' })).status).toBe(NOT_SERVING);
    expect(await codeOf(client.check({ service: 'acme.Other' }))).toBe(Code.NotFound);
    expect(health.get('acme.Service')).toBe(NOT_SERVING);
    expect(health.get('acme.Other')).toBeUndefined();
  });

  test('List answers all that were set', async () => {
    health.set('', SERVING);
    health.set('acme.Service', UNKNOWN);
    const { statuses } = await clientOf(createTransport).list({});
    expect(Object.fromEntries(Object.entries(statuses).map(([name, { status }]) => [name, status]))).toEqual({
      '': SERVING,
      'acme.Service': UNKNOWN,
    });
  });

  test('Watch sends the status at once and each change, also of a service that comes later', async () => {
    const watched = watch(clientOf(createTransport), 'acme.Service');
    expect(await watched.next()).toBe(SERVICE_UNKNOWN);
    health.set('acme.Service', SERVING);
    expect(await watched.next()).toBe(SERVING);
    health.set('acme.Service', SERVING);
    health.set('acme.Other', NOT_SERVING);
    health.set('acme.Service', NOT_SERVING);
    expect(await watched.next()).toBe(NOT_SERVING);
  });

  test('shutdown tells watchers, ends their streams, and is final', async () => {
    health.set('acme.Service', SERVING);
    const client = clientOf(createTransport);
    const watched = watch(client, 'acme.Service');
    expect(await watched.next()).toBe(SERVING);
    health.shutdown();
    expect(await watched.next()).toBe(NOT_SERVING);
    expect(await codeOf(watched.next())).toBe(Code.Unavailable);
    health.set('acme.Service', SERVING);
    expect((await client.check({ service: 'acme.Service' })).status).toBe(NOT_SERVING);
  });
});

describe('watchers', () => {
  test('are bounded, and one that leaves makes room', async () => {
    const client = clientOf(createGrpcTransport);
    const leaver = new AbortController();
    const signals = [leaver.signal, cut.signal, cut.signal];
    for (const signal of signals) expect(await watch(client, '', signal).next()).toBe(SERVICE_UNKNOWN);
    expect(await codeOf(watch(client, '').next())).toBe(Code.ResourceExhausted);
    leaver.abort();
    // The server hears of it a moment later.
    await expect
      .poll(() =>
        watch(client, '')
          .next()
          .catch(() => 'refused'),
      )
      .toBe(SERVICE_UNKNOWN);
  });

  test('end with their deadline', async () => {
    const client = clientOf(createGrpcTransport);
    const messages = client.watch({}, { timeoutMs: 50 })[Symbol.asyncIterator]();
    await messages.next();
    expect(await codeOf(messages.next())).toBe(Code.DeadlineExceeded);
  });
});
