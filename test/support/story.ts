import { create, type JsonObject, toBinary } from '@bufbuild/protobuf';
import { Phase, type PublishRequest, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import type { EdgeOptions } from '../../envoy/options.ts';
import { type Edge, startEdge } from './edge.ts';
import { type Development, type ServiceProcess, startMonolith } from './tideway.ts';

/** The product as a developer has it: one process that is everything, and real Envoy in front. */
export interface Story {
  readonly edge: Edge;
  readonly monolith: ServiceProcess;
  /** What `npm start` leaves in dev.json. */
  readonly development: Development;
  /** Through the edge. */
  readonly url: string;
  /** Straight to the process behind it. */
  readonly directUrl: string;
  stop(): Promise<void>;
}

export async function startStory(
  env: Readonly<Record<string, string>> = {},
  edgeChanges: Partial<Omit<EdgeOptions, 'upstreams' | 'admin'>> = {},
): Promise<Story> {
  const monolith = await startMonolith(env);
  try {
    const ports = [monolith.port];
    const edge = await startEdge(
      { publish: ports, stream: ports, control: ports, config: ports, events: ports, relay: ports, web: ports },
      edgeChanges,
    );
    return {
      edge,
      monolith,
      development: monolith.development,
      url: edge.url,
      directUrl: `http://127.0.0.1:${monolith.port}`,
      async stop() {
        await edge.stop();
        await monolith.stop();
      },
    };
  } catch (error) {
    await monolith.stop();
    throw error;
  }
}

/** Organization 1's, in a new channel unless it is told one, with a new id. */
export function message(init: {
  readonly channelId?: string;
  readonly messageId?: string;
  readonly orgId?: bigint;
  readonly phase?: Phase;
  readonly sequence?: bigint | number;
  readonly payload?: JsonObject;
}): PublishRequest {
  return create(PublishRequestSchema, {
    channelId: init.channelId ?? crypto.randomUUID(),
    messageId: init.messageId ?? crypto.randomUUID(),
    orgId: init.orgId ?? 1n,
    phase: init.phase ?? Phase.DELTA,
    sequence: BigInt(init.sequence ?? 0),
    ...(init.payload === undefined ? {} : { payload: init.payload }),
  });
}

/** A message whose encoding has exactly so many bytes. */
export function messageOfSize(channelId: string, sizeBytes: number): Uint8Array {
  const sized = (length: number) =>
    toBinary(PublishRequestSchema, message({ channelId, payload: { text: 'x'.repeat(length) } }));
  const first = sized(sizeBytes - 200).byteLength;
  const data = sized(sizeBytes - 200 + (sizeBytes - first));
  if (data.byteLength !== sizeBytes) throw new Error(`made ${data.byteLength} bytes`);
  return data;
}

/** Publishes by Conduit's form, and answers what came back. */
export async function publish(
  url: string,
  token: string,
  published: PublishRequest,
): Promise<{ status: number; text: string }> {
  const response = await fetch(`${url}/publish/${published.orgId}/${published.channelId}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/x-protobuf', Authorization: `Bearer ${token}` },
    body: new Uint8Array(toBinary(PublishRequestSchema, published)),
  });
  return { status: response.status, text: await response.text() };
}

/** Publishes what must be accepted, and answers its id. */
export async function published(url: string, token: string, init: Parameters<typeof message>[0]): Promise<string> {
  const { status, text } = await publish(url, token, message(init));
  if (status !== 200) throw new Error(`publish was answered ${status}: ${text}`);
  return text;
}

export interface StreamAccess {
  readonly token: string;
  readonly channel_id: string;
  readonly url: string;
}

/** Starts a stream as an application does. */
export async function startStream(url: string, body: object = {}, apiToken?: string): Promise<StreamAccess> {
  const response = await fetch(`${url}/v1/organizations/1/streams`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      ...(apiToken === undefined ? {} : { Authorization: `Bearer ${apiToken}` }),
    },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`StartStream was answered ${response.status}: ${await response.text()}`);
  const { conduit } = (await response.json()) as { conduit: StreamAccess };
  return conduit;
}

/** Where to listen by Conduit's form. */
export function eventsUrl(
  { url, token, channel_id }: StreamAccess,
  more: Readonly<Record<string, string>> = {},
): string {
  return `${url}?${new URLSearchParams({ token, channel_id, ...more })}`;
}
