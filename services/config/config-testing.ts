import type { Client } from '@connectrpc/connect';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { onTestFinished } from 'vitest';
import { ConfigService } from '#gen/tideway/config/v1/config_service_pb.ts';
import type { ConfigCache } from '#lib/config-cache/config-cache.ts';
import { openCache, type StoreUnderTest } from '#lib/config-cache/config-testing.ts';
import { Gate } from '#lib/server/gate.ts';
import { runService } from '#lib/server/run-service.ts';
import { createLogger } from '#lib/telemetry/logger.ts';
import type { SigningRelay } from './relays.ts';
import { configService } from './routes.ts';

export const OWN_TOKEN = 'a-token-of-our-own-relays-in-tests';
export const EXTERNAL_TOKEN = 'a-token-of-somebody-elses-relays-';

/** The config service on a port of its own, with what it needs. */
export interface ServiceUnderTest {
  readonly url: string;
  readonly cache: ConfigCache;
  readonly client: Client<typeof ConfigService>;
  stop(): Promise<void>;
}

export async function startConfigService(
  under: StoreUnderTest,
  keys: readonly SigningRelay[] = [],
): Promise<ServiceUnderTest> {
  const cache = openCache(under);
  const tokens = [
    { secret: OWN_TOKEN, isTrusted: true },
    { secret: EXTERNAL_TOKEN, isTrusted: false },
  ];
  const running = await runService({
    host: '127.0.0.1',
    port: 0,
    parts: [configService({ gate: new Gate({}), cache, relays: { tokens, keys } })],
    reflection: false,
    drainTimeoutMs: 1000,
    logger: createLogger('config', 'silent'),
  });
  onTestFinished(() => running.stop());
  const url = `http://127.0.0.1:${running.port}`;
  return { url, cache, client: clientOf(url), stop: () => running.stop() };
}

export function clientOf(url: string): Client<typeof ConfigService> {
  return createClient(ConfigService, createGrpcTransport({ baseUrl: url }));
}

export function asRelay(token: string = OWN_TOKEN): { readonly headers: { readonly Authorization: string } } {
  return { headers: { Authorization: `Bearer ${token}` } };
}
