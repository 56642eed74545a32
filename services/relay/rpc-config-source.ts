import { create } from '@bufbuild/protobuf';
import { createClient, type Transport } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { ConfigService, type KeyAnswer, KnownKeySchema } from '#gen/tideway/config/v1/config_service_pb.ts';
import { LookupWatch } from './lookup-watch.ts';
import type { ConfigAnswer, ConfigSource } from './project-cache.ts';

export interface RpcConfigSourceOptions {
  readonly transport: Transport;
  readonly token: string;
  /** Hears that the watch broke. */
  readonly onError: (error: unknown) => void;
}

const LOOKUP_DEADLINE_MS = 5_000;

/** Our config service, which also says what changes. */
export function createRpcConfigSource({ transport, token, onError }: RpcConfigSourceOptions): ConfigSource {
  const client = createClient(ConfigService, transport);
  const headers = { Authorization: `Bearer ${token}` };
  let watch: LookupWatch | undefined;
  return {
    async lookup(keys, signal) {
      const request = { keys: keys.map((key) => create(KnownKeySchema, key)), seen: watch?.cursor ?? '' };
      const options = { headers, signal, timeoutMs: LOOKUP_DEADLINE_MS };
      const { answers } = await client.getProjectConfigs(request, options);
      return keys.map(({ publicKey }, at) => {
        const answer = answers[at];
        // In the order asked: anything else would give a project what is another's.
        if (answer?.publicKey !== publicKey) throw new Error('the config service answered other keys');
        return answerOf(answer);
      });
    },
    watch(onChange, onReset) {
      const made = new LookupWatch({ client, headers, onChange, onReset, onError });
      watch = made;
      return () => made.stop();
    },
    close: () => watch?.stop(),
  };
}

function answerOf({ answer }: KeyAnswer): ConfigAnswer {
  switch (answer.case) {
    case 'config':
      return { kind: 'enabled', config: answer.value };
    case 'unchanged':
    case 'pending':
    case 'disabled':
    case 'unavailable':
      return { kind: answer.case };
    default:
      // What a later version may answer.
      return { kind: 'pending' };
  }
}

const PING_INTERVAL_MS = 10_000;
/** Above what the service puts into one response. */
const MAX_RESPONSE_BYTES = 16 * 1024 * 1024;

/** To a config service elsewhere: gRPC on one connection, which is opened again whenever it breaks. */
export function openConfigTransport(url: string): { readonly transport: Transport; close(): void } {
  const sessionManager = new Http2SessionManager(url, { pingIntervalMs: PING_INTERVAL_MS });
  const transport = createGrpcTransport({
    baseUrl: url,
    sessionManager,
    // Configs come from nearby: compressing them costs both sides more than it saves.
    acceptCompression: [],
    readMaxBytes: MAX_RESPONSE_BYTES,
  });
  return { transport, close: () => sessionManager.abort() };
}
