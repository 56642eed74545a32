import { create } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createClient, createRouterTransport, type ServiceImpl } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { RetryInfoSchema } from '#gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '#gen/google/rpc/status_pb.ts';
import { Phase, type PublishRequest, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { PublishService, type PublishStreamResponse } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import { Backoff } from './backoff.ts';
import { MAX_UNACKNOWLEDGED, publishInOrder } from './publish-in-order.ts';

type PublishStream = ServiceImpl<typeof PublishService>['publishStream'];
type Answer = Pick<PublishStreamResponse, '$typeName' | 'position' | 'result'>;

const retrySoon = anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: { nanos: 1_000_000 } }));

/** A log that stores as the real one does: each message once, in the order of arrival. */
function logOf() {
  const stored: bigint[] = [];
  return {
    stored,
    answer(position: number, message: PublishRequest | undefined): Answer {
      const sequence = message?.sequence ?? -1n;
      const duplicate = stored.includes(sequence);
      if (!duplicate) stored.push(sequence);
      const value = { $typeName: 'tideway.stream.v1.PublishResponse' as const, id: `${sequence}-0`, duplicate };
      return answerWith(position, { case: 'published', value });
    },
  };
}

function answerWith(position: number, result: Answer['result']): Answer {
  return { $typeName: 'tideway.stream.v1.PublishStreamResponse', position: BigInt(position), result };
}

function refusal(position: number, code: Code, ...details: (typeof retrySoon)[]): Answer {
  return answerWith(position, { case: 'error', value: create(StatusSchema, { code, message: 'refused', details }) });
}

async function* messages(count: number, onRead: (n: number) => void = () => {}): AsyncGenerator<PublishRequest> {
  for (let n = 0; n < count; n++) {
    onRead(n);
    yield create(PublishRequestSchema, { sequence: BigInt(n), phase: Phase.DELTA });
  }
}

async function publish(publishStream: PublishStream, source: AsyncIterable<PublishRequest>) {
  const client = createClient(
    PublishService,
    createRouterTransport((router) => {
      router.service(PublishService, { publishStream });
    }),
  );
  const heard: string[] = [];
  const ids: string[] = [];
  const options = {
    token: 'a-token',
    backoff: new Backoff(60_000, undefined, () => 0),
    listener: { onOutage: () => heard.push('outage'), onRecovery: () => heard.push('recovery') },
  };
  for await (const { id } of publishInOrder(client, source, options)) ids.push(id);
  return { ids, heard };
}

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);

describe('publishInOrder', () => {
  it('publishes everything on one call and yields the ids in order', async () => {
    const log = logOf();
    let calls = 0;
    const { ids, heard } = await publish(async function* (requests, context) {
      calls++;
      expect(context.requestHeader.get('authorization')).toBe('Bearer a-token');
      let position = 0;
      for await (const { message } of requests) yield log.answer(position++, message);
    }, messages(200));
    expect(calls).toBe(1);
    expect(ids).toEqual(upTo(200).map((n) => `${n}-0`));
    expect(heard).toEqual([]);
  });

  it('reads no further ahead than its bound', async () => {
    let read = 0;
    let calls = 0;
    const seen = Promise.withResolvers<void>();
    const log = logOf();
    const done = publish(
      async function* (requests) {
        calls++;
        const held: (PublishRequest | undefined)[] = [];
        let position = 0;
        for await (const { message } of requests) {
          held.push(message);
          if (held.length === MAX_UNACKNOWLEDGED) {
            await new Promise(setImmediate);
            seen.resolve();
            for (const one of held.splice(0)) yield log.answer(position++, one);
          }
        }
        for (const one of held) yield log.answer(position++, one);
      },
      messages(3 * MAX_UNACKNOWLEDGED + 10, () => read++),
    );
    await seen.promise;
    expect(read).toBe(MAX_UNACKNOWLEDGED);
    await done;
    expect(log.stored).toHaveLength(3 * MAX_UNACKNOWLEDGED + 10);
    expect(calls).toBe(1);
  });

  it('sends again what a broken call left unanswered, stored or not', async () => {
    const log = logOf();
    let calls = 0;
    const { ids, heard } = await publish(async function* (requests) {
      const breakAfter = calls++ < 3 ? 5 : Number.POSITIVE_INFINITY;
      let position = 0;
      for await (const { message } of requests) {
        const answer = log.answer(position++, message);
        // Stored, and then the connection is gone before the answer.
        if (position > breakAfter) throw new ConnectError('connection lost', Code.Unavailable);
        yield answer;
      }
    }, messages(40));
    expect(calls).toBe(4);
    expect(ids).toEqual(upTo(40).map((n) => `${n}-0`));
    expect(log.stored).toEqual(upTo(40).map(BigInt));
    expect(heard).toEqual(['outage', 'recovery', 'outage', 'recovery', 'outage', 'recovery']);
  });

  it('goes on after a refusal that passes, with what was refused first', async () => {
    const log = logOf();
    let calls = 0;
    await publish(async function* (requests) {
      const first = calls++ === 0;
      let position = 0;
      for await (const { message } of requests) {
        if (first && position === 3) yield refusal(position++, Code.Unavailable, retrySoon);
        else if (first && position > 3) yield refusal(position++, Code.Aborted);
        else yield log.answer(position++, message);
      }
    }, messages(20));
    expect(calls).toBe(2);
    expect(log.stored).toEqual(upTo(20).map(BigInt));
  });

  it('opens another call when the server ended one early', async () => {
    const log = logOf();
    let calls = 0;
    await publish(async function* (requests) {
      const only = calls++ === 0 ? 2 : Number.POSITIVE_INFINITY;
      let position = 0;
      for await (const { message } of requests) {
        yield log.answer(position++, message);
        if (position >= only) return;
      }
    }, messages(10));
    expect(calls).toBeGreaterThan(1);
    expect(log.stored).toEqual(upTo(10).map(BigInt));
  });

  it('stops at a refusal for good', async () => {
    const log = logOf();
    const run = publish(async function* (requests) {
      let position = 0;
      for await (const { message } of requests) {
        yield position === 2 ? refusal(position++, Code.FailedPrecondition) : log.answer(position++, message);
      }
    }, messages(10));
    await expect(run).rejects.toMatchObject({ code: Code.FailedPrecondition });
    expect(log.stored.slice(0, 2)).toEqual([0n, 1n]);
  });

  it('publishes what was read before its source failed, then throws that', async () => {
    const log = logOf();
    async function* broken() {
      yield* messages(3);
      throw new Error('line 4 is no JSON');
    }
    const run = publish(async function* (requests) {
      let position = 0;
      for await (const { message } of requests) yield log.answer(position++, message);
    }, broken());
    await expect(run).rejects.toThrow('line 4 is no JSON');
    expect(log.stored).toEqual([0n, 1n, 2n]);
  });
});
