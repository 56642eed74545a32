import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient, createRouterTransport } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { ControlType, Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { StreamService, type SubscribeResponseSchema } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { Backoff } from './backoff.ts';
import { followChannel } from './follow-channel.ts';

type Event = MessageInitShape<typeof SubscribeResponseSchema>;
type Answer = Event | ConnectError;

const message = (id: string, phase: Phase = Phase.DELTA): Event => ({
  id,
  event: { case: 'message', value: { phase } },
});
const control = (id: string, type: ControlType): Event => ({ id, event: { case: 'control', value: { type } } });
const heartbeat = control('', ControlType.HEARTBEAT);
const away = new ConnectError('away', Code.Unavailable);

/** Follows a channel on a server that answers each subscription as told, in turn. */
async function follow(responses: Answer[][], { from = '', renewable = true } = {}) {
  const asked: { cursor: string; authorization: string | null }[] = [];
  const client = createClient(
    StreamService,
    createRouterTransport((router) => {
      router.service(StreamService, {
        async *subscribe({ lastEventId }, { requestHeader }) {
          const answers = responses[asked.length] ?? [];
          asked.push({ cursor: lastEventId, authorization: requestHeader.get('authorization') });
          for (const answer of answers) {
            if (answer instanceof ConnectError) throw answer;
            yield answer;
          }
        },
      });
    }),
  );
  const heard: string[] = [];
  const events: string[] = [];
  let tokens = 1;
  const steps = followChannel(
    client,
    { orgId: 1n, channelId: 'c', lastEventId: from },
    {
      token: async (renew) => `token-${renew ? ++tokens : tokens}`,
      renewable,
      backoff: new Backoff(60_000, undefined, () => 0),
      listener: { onOutage: () => heard.push('outage'), onRecovery: () => heard.push('recovery') },
      signal: AbortSignal.timeout(10_000),
    },
  );
  let how: string | undefined;
  for await (const step of steps) {
    if (step.kind === 'over') how = step.how;
    else events.push(step.event.id);
  }
  return { how, events, heard, cursors: asked.map(({ cursor }) => cursor), asked };
}

describe('followChannel', () => {
  it('ends at END', async () => {
    const result = await follow([[message('1-0', Phase.START), heartbeat, message('2-0'), message('3-0', Phase.END)]]);
    expect(result).toMatchObject({ how: 'end', events: ['1-0', '2-0', '3-0'], cursors: [''], heard: [] });
  });

  it('begins where it is told', async () => {
    expect((await follow([[message('9-0', Phase.END)]], { from: '8-0' })).cursors).toEqual(['8-0']);
  });

  it('resumes by the last id after a cut, and tells of it once', async () => {
    const result = await follow([[message('1-0'), message('2-0'), away], [away], [message('3-0', Phase.END)]]);
    expect(result).toMatchObject({
      how: 'end',
      events: ['1-0', '2-0', '3-0'],
      cursors: ['', '2-0', '2-0'],
      heard: ['outage', 'recovery'],
    });
  });

  it('resumes without a word when the server drains', async () => {
    const result = await follow([
      [message('1-0'), control('1-0', ControlType.SERVER_DRAINING)],
      [message('2-0', Phase.END)],
    ]);
    expect(result).toMatchObject({ how: 'end', cursors: ['', '1-0'], heard: [] });
  });

  it('does not take a response that only had heartbeats for the end', async () => {
    const result = await follow([[heartbeat], [heartbeat], [heartbeat], [message('1-0', Phase.END)]]);
    expect(result).toMatchObject({ how: 'end', cursors: ['', '', '', ''] });
  });

  it('knows a stream that ended at or before the cursor by two responses with nothing in them', async () => {
    expect(await follow([[], []], { from: '5-0' })).toMatchObject({ how: 'ended_before', cursors: ['5-0', '5-0'] });
  });

  it('goes on after EXPIRED while there is a stream, and ends with it', async () => {
    const expired = control('5-0', ControlType.EXPIRED);
    expect(await follow([[expired, message('6-0', Phase.END)]], { from: '5-0' })).toMatchObject({ how: 'end' });
    expect(await follow([[expired]], { from: '5-0' })).toMatchObject({ how: 'expired', events: ['5-0'] });
  });

  it('ends when the producer is lost', async () => {
    const result = await follow([[message('1-0'), control('2-0', ControlType.PRODUCER_LOST)]]);
    expect(result).toMatchObject({ how: 'producer_lost', events: ['1-0', '2-0'] });
  });

  it('asks for another token when its own has expired, and uses it from then on', async () => {
    const expired = new ConnectError('Token expired', Code.Unauthenticated);
    const result = await follow([
      [message('1-0'), away],
      [expired],
      [message('2-0'), away],
      [message('3-0', Phase.END)],
    ]);
    expect(result.asked.map(({ authorization }) => authorization)).toEqual([
      'Bearer token-1',
      'Bearer token-1',
      'Bearer token-2',
      'Bearer token-2',
    ]);
  });

  it.each([
    ['a second refusal in a row', true],
    ['a refusal of a token that is not its own', false],
  ])('stops at %s', async (_what, renewable) => {
    const refused = new ConnectError('Invalid token', Code.Unauthenticated);
    await expect(follow([[refused], [refused], [refused]], { renewable })).rejects.toMatchObject({
      code: Code.Unauthenticated,
    });
  });
});
