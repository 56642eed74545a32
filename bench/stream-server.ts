import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { keysFromPem, keysFromSecret } from '#lib/auth/key-source.ts';
import { createPublishTokenVerifier } from '#lib/auth/publish-token.ts';
import { createPublishTokenSigner } from '#lib/auth/publish-token-signer.ts';
import { createStreamTokenVerifier } from '#lib/auth/stream-token.ts';
import { createStreamTokenSigner } from '#lib/auth/stream-token-signer.ts';
import { makeKeys } from '#lib/auth/testing.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import { Gate } from '#lib/server/gate.ts';
import { runService } from '#lib/server/run-service.ts';
import { createLogger } from '#lib/telemetry/logger.ts';
import { publishService } from '../services/publish/routes.ts';
import { streamService } from '../services/stream/routes.ts';
import type { Access } from './stream-typed-load.ts';

// The server of stream-fanout.ts, in a process of its own: `tideway` is the publish and the stream service on the memory
// broker; `bare` is the least that node:http can do, one buffer for all listeners.

if (process.send === undefined) throw new Error('started by stream-fanout.ts');
process.on('disconnect', () => process.exit());
const [kind, channels] = [process.argv[2], Number(process.argv[3])];
const channelIds: string[] = Array.from({ length: channels }, () => crypto.randomUUID());
process.send(await (kind === 'bare' ? serveBare() : serveTideway()));

async function serveTideway(): Promise<Access> {
  const { privatePem, publicPem } = makeKeys('EdDSA');
  const common = { issuer: 'bench', audience: 'bench' };
  const secret = 'the secret of the publishers of this benchmark';
  const broker = createMemoryBroker();
  const gate = new Gate({
    streamTokens: createStreamTokenVerifier({ ...common, keys: keysFromPem({ name: 'KEY', pem: publicPem }) }),
    publishTokens: createPublishTokenVerifier({ ...common, keys: [keysFromSecret({ name: 'SECRET', secret })] }),
    starters: 'anybody',
  });
  const signer = createStreamTokenSigner({ ...common, name: 'KEY', privateKeyPem: privatePem, ttlSec: 3600 });
  const logger = createLogger('bench', 'warn');
  const { port } = await runService({
    host: '127.0.0.1',
    port: 0,
    broker,
    parts: [
      publishService({ gate, broker, ratePerSec: 0, streamRatePerSec: 0, logger }),
      streamService({ gate, broker, signer, publicUrl: undefined, maxConnectionMs: 0, maxListeners: 100_000, logger }),
    ],
    reflection: false,
    drainTimeoutMs: 100,
    logger,
  });
  const publishers = createPublishTokenSigner({ ...common, name: 'SECRET', secret, ttlSec: 3600 });
  return {
    port,
    publishToken: await publishers.sign({ subject: 'bench' }),
    channels: await Promise.all(
      channelIds.map(async (channelId) => ({ channelId, token: await signer.sign({ orgId: 1n, channelId }) })),
    ),
  };
}

async function serveBare(): Promise<Access> {
  const listeners = new Map(channelIds.map((id) => [id, new Set<ServerResponse>()]));
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const listening = listeners.get(url.searchParams.get('channel_id') ?? url.pathname.split('/')[3] ?? '');
    if (request.method === 'GET') {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
      response.write(': hello\n\n');
      listening?.add(response);
      response.on('close', () => listening?.delete(response));
      return;
    }
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const event = Buffer.concat([Buffer.from('event: stream\ndata: '), ...chunks, Buffer.from('\n\n')]);
      for (const listener of listening ?? []) listener.write(event);
      response.end('1-1');
    });
  });
  server.keepAliveTimeout = 75_000;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', 511, resolve));
  const { port } = server.address() as AddressInfo;
  return { port, publishToken: '', channels: channelIds.map((channelId) => ({ channelId, token: '' })) };
}
