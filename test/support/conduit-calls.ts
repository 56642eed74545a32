import type { JsonObject } from '@bufbuild/protobuf';
import type { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import type { ConduitEnv } from './conduit-env.ts';
import { type EventsResponse, listen } from './events.ts';
import { published, type Story } from './story.ts';

/** What Conduit's publishers and listeners do, with tokens of their own. */
export interface ConduitCalls {
  urlOf(channelId: string, asking?: Asking): Promise<string>;
  listenTo(channelId: string, asking?: Asking): Promise<EventsResponse>;
  /** Answers its id. */
  send(channelId: string, init?: Sending): Promise<string>;
  /** `count` messages of a new channel, and their ids. */
  streamOf(count: number): Promise<{ channelId: string; ids: string[] }>;
}

export interface Asking {
  /** Past the edge. */
  readonly direct?: boolean;
  readonly token?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Sending {
  readonly phase?: Phase;
  readonly sequence?: number;
  readonly messageId?: string;
  readonly payload?: JsonObject;
}

export function conduitCalls(story: Story, conduit: ConduitEnv): ConduitCalls {
  const calls: ConduitCalls = {
    async urlOf(channelId, { direct = false, token, query = {} } = {}) {
      const base = direct ? story.directUrl : story.url;
      const signed = token ?? (await conduit.streamToken({ org_id: 1, channel_id: channelId }));
      return `${base}/events/1?${new URLSearchParams({ token: signed, channel_id: channelId, ...query })}`;
    },
    listenTo: async (channelId, asking = {}) => listen(await calls.urlOf(channelId, asking), asking.headers),
    send: async (channelId, init = {}) => published(story.url, await conduit.publishToken(), { channelId, ...init }),
    async streamOf(count) {
      const channelId = crypto.randomUUID();
      const ids: string[] = [];
      for (let sequence = 1; sequence <= count; sequence++) ids.push(await calls.send(channelId, { sequence }));
      return { channelId, ids };
    },
  };
  return calls;
}
