import { connect } from 'node:http2';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { toBinary } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { ConfigService, GetProjectConfigsRequestSchema } from '#gen/tideway/config/v1/config_service_pb.ts';

// The relay of config-service.ts, in a process of its own. It does one thing after the other as it is told.

export interface Start {
  readonly baseUrl: string;
  readonly token: string;
  readonly keys: readonly (readonly [publicKey: string, revision: bigint])[];
}

export interface Job {
  /** What the lookup ends with: the last byte of the response, or its messages. */
  readonly until: 'bytes' | 'messages';
  readonly isKnown: boolean;
  readonly acceptsGzip: boolean;
  readonly keysAtOnce: number;
  readonly rounds: number;
}

export interface Done {
  readonly timesMs: readonly number[];
  /** Of the last response, where bytes are what was asked for. */
  readonly sizeBytes: number;
}

const FRAME_HEADER_BYTES = 5;
const collect = globalThis.gc;

if (process.send !== undefined) process.once('message', (start) => serve(start as Start));

function serve({ baseUrl, token, keys }: Start): void {
  const headers = { authorization: `Bearer ${token}` };
  const plain = createClient(ConfigService, createGrpcTransport({ baseUrl, acceptCompression: [] }));
  const gzip = createClient(ConfigService, createGrpcTransport({ baseUrl }));
  const session = connect(baseUrl);

  const request = ({ isKnown, keysAtOnce }: Job) => ({
    $typeName: 'tideway.config.v1.GetProjectConfigsRequest' as const,
    seen: '',
    keys: Array.from({ length: keysAtOnce }, () => {
      const [publicKey, revision] = keys[Math.floor(Math.random() * keys.length)] ?? ['', 0n];
      return { $typeName: 'tideway.config.v1.KnownKey' as const, publicKey, revision: isKnown ? revision : 0n };
    }),
  });

  const bytes = (body: Uint8Array): Promise<number> =>
    new Promise((resolve, reject) => {
      const stream = session.request({
        ...headers,
        ':method': 'POST',
        ':path': `/${ConfigService.typeName}/${ConfigService.method.getProjectConfigs.name}`,
        'content-type': 'application/grpc+proto',
        te: 'trailers',
      });
      let sizeBytes = 0;
      stream.on('data', (chunk: Uint8Array) => {
        sizeBytes += chunk.byteLength;
      });
      stream.on('trailers', (trailers) => {
        if (trailers['grpc-status'] !== '0') reject(new Error(`grpc-status ${trailers['grpc-status']}`));
      });
      stream.on('end', () => resolve(sizeBytes));
      stream.on('error', reject);
      stream.end(body);
    });

  const run = async (job: Job): Promise<Done> => {
    const timesMs: number[] = [];
    let sizeBytes = 0;
    for (let n = 0; n < job.rounds; n += 1) {
      // What this process has to collect is not what is measured.
      if (job.until === 'bytes') collect?.({ type: 'minor' });
      const message = request(job);
      const body = job.until === 'bytes' ? framed(toBinary(GetProjectConfigsRequestSchema, message)) : undefined;
      const beganMs = performance.now();
      if (body !== undefined) sizeBytes = await bytes(body);
      else await (job.acceptsGzip ? gzip : plain).getProjectConfigs(message, { headers });
      timesMs.push(performance.now() - beganMs);
    }
    return { timesMs, sizeBytes };
  };
  process.on('message', (job) => void run(job as Job).then((done) => process.send?.(done)));
  process.send?.('ready');
}

function framed(message: Uint8Array): Uint8Array {
  const frame = Buffer.alloc(FRAME_HEADER_BYTES + message.byteLength);
  frame.writeUInt32BE(message.byteLength, 1);
  frame.set(message, FRAME_HEADER_BYTES);
  return frame;
}
