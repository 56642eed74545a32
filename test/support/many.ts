import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { EventSource } from 'eventsource';
import { ControlType, Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { StreamService } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { parseEvents } from './events.ts';
import type { Place } from './place.ts';
import { type Face, httpFace, newMessage } from './publishers.ts';

/** Several channels and a token for all of them. */
export interface Channels {
  readonly ids: readonly string[];
  readonly token: string;
  /** By Conduit's form; the channels may be others. */
  eventsUrl(ids?: readonly string[], more?: Readonly<Record<string, string>>): string;
}

export async function startMany(
  baseUrl: string,
  orgId: bigint,
  ids: readonly string[] = Array.from({ length: 20 }, () => crypto.randomUUID()),
): Promise<Channels> {
  const response = await fetch(`${baseUrl}/v1/organizations/${orgId}/streams`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ channel_ids: ids }),
  });
  if (!response.ok) throw new Error(`StartStream was answered ${response.status}: ${await response.text()}`);
  const { conduit } = (await response.json()) as { conduit: { token: string; url: string; channel_ids: string[] } };
  const { token, url, channel_ids } = conduit;
  return {
    ids: channel_ids,
    token,
    eventsUrl: (wanted = channel_ids, more = {}) =>
      `${url}?${new URLSearchParams({ token, ...more })}&channel_ids=${wanted.join(',')}`,
  };
}

export const sequences = (count: number) => Array.from({ length: count }, (_, n) => n);

/** So many more on each channel, several channels at once. */
export async function sendAll(
  place: Place,
  ids: readonly string[],
  from: number,
  to: number,
  last: Phase = Phase.DELTA,
) {
  const face = httpFace(place.url, place.publishToken);
  await Promise.all(
    ids.map(async (id) => {
      for (let n = from; n < to; n++) await send(face, place.orgId, id, n, n === to - 1 ? last : Phase.DELTA);
    }),
  );
}

/** Publishes to a channel, and resolves once it is stored. */
async function send(face: Face, orgId: bigint, channelId: string, sequence: number, phase: Phase = Phase.DELTA) {
  const sent = await face(newMessage(orgId, channelId, phase, sequence));
  if (sent.kind !== 'acknowledged') throw new Error(`${sent.code} ${sent.text}`);
}

/** What a listener of several channels has, as a client keeps it: messages that it has already are dropped by their id. */
export class Received {
  readonly sequences = new Map<string, number[]>();
  readonly controls: string[] = [];
  repeated = 0;
  ended = 0;
  readonly #seen = new Set<string>();

  message(channelId: string, messageId: string, sequence: number, isEnd: boolean): void {
    if (this.#seen.has(messageId)) {
      this.repeated++;
      return;
    }
    this.#seen.add(messageId);
    const sequences = this.sequences.get(channelId) ?? [];
    sequences.push(sequence);
    this.sequences.set(channelId, sequences);
    if (isEnd) this.ended++;
  }

  get count(): number {
    return this.#seen.size;
  }

  /** What events are, with an EventSource's idea of the last id. */
  take(text: string): string | undefined {
    let lastEventId: string | undefined;
    for (const { event, data = '', id } of parseEvents(text)) {
      lastEventId = id ?? lastEventId;
      this.event(event, data);
    }
    return lastEventId;
  }

  event(name: string | undefined, text: string): void {
    if (name !== 'stream' && name !== 'control') return;
    const data = JSON.parse(text);
    if (name === 'control') this.controls.push(`${data.channel_id ?? ''}:${data.control_type}`);
    else this.message(data.channel_id, data.message_id, data.sequence, data.phase === 'PHASE_END');
  }
}

/** npm's EventSource, as it is. */
export function listenByEventSource(url: string): { readonly received: Received; readonly source: EventSource } {
  const received = new Received();
  const source = new EventSource(url);
  for (const name of ['stream', 'control']) {
    source.addEventListener(name, ({ data }) => received.event(name, data));
  }
  return { received, source };
}

/** A service that listens by gRPC, and comes back by its last cursor until all channels have ended. */
export class ManyRpcListener {
  readonly received = new Received();
  calls = 0;
  hasEnded = false;
  isOpen = false;
  cursor = '';
  readonly #closing = new AbortController();

  constructor(baseUrl: string, orgId: bigint, { ids, token }: Channels) {
    const client = createClient(StreamService, createGrpcTransport({ baseUrl }));
    void this.#run(client, orgId, ids, token);
  }

  close(): void {
    this.#closing.abort();
  }

  async #run(client: Client<typeof StreamService>, orgId: bigint, channelIds: readonly string[], token: string) {
    const options = { headers: { authorization: `Bearer ${token}` }, signal: this.#closing.signal };
    while (!this.hasEnded && !this.#closing.signal.aborted) {
      this.calls++;
      try {
        const request = { orgId, channelIds: [...channelIds], cursor: this.cursor };
        for await (const { channelId, event, cursor } of client.subscribeMany(request, options)) {
          this.isOpen = true;
          if (cursor !== undefined) this.cursor = cursor;
          if (event.case === 'message') {
            const { messageId, sequence, phase } = event.value;
            this.received.message(channelId, messageId, Number(sequence), phase === Phase.END);
          } else if (event.case === 'control' && event.value.type !== ControlType.HEARTBEAT) {
            this.received.controls.push(`${channelId}:${event.value.type}`);
          }
        }
        this.hasEnded = this.received.ended === channelIds.length;
      } catch {
        // Whatever it was: it comes back.
      }
      this.isOpen = false;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
