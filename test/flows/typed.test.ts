import { type Client, Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  BadRequestSchema,
  ErrorInfoSchema,
  QuotaFailureSchema,
  RetryInfoSchema,
} from '#gen/google/rpc/error_details_pb.ts';
import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from '#gen/grpc/health/v1/health_pb.ts';
import { ServerReflection } from '#gen/grpc/reflection/v1/reflection_pb.ts';
import { ConfigService } from '#gen/tideway/config/v1/config_service_pb.ts';
import { AccountService } from '#gen/tideway/control/v1/account_service_pb.ts';
import { ControlService } from '#gen/tideway/control/v1/control_service_pb.ts';
import { EventService } from '#gen/tideway/events/v1/event_service_pb.ts';
import { RelayService } from '#gen/tideway/relay/v1/relay_service_pb.ts';
import { ControlType, Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { PublishService } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import { StreamService } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { overRate } from '../support/over-rate.ts';
import { message, type Story, startStory } from '../support/story.ts';
import { transports } from '../support/transports.ts';

// The typed faces, through the edge: the same calls and the same answers in every protocol.
let story: Story;

beforeAll(async () => {
  story = await startStory();
});
afterAll(() => story?.stop());

/** One client of both services, and a token for each. */
function clientsOf(transport: Transport) {
  return {
    publisher: createClient(PublishService, transport),
    streams: createClient(StreamService, transport),
    asPublisher: { headers: { authorization: `Bearer ${story.development.publish_token}` } },
  };
}

async function started(streams: Client<typeof StreamService>) {
  const { conduit } = await streams.startStream({ organization: '1' });
  if (conduit === undefined) throw new Error('an empty answer');
  const { channelId, token } = conduit;
  return { channelId, asListener: { headers: { authorization: `Bearer ${token}` } } };
}

async function failureOf(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => {
      throw new Error('it was accepted');
    },
    (error) => ConnectError.from(error),
  );
}

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

describe.each(transports)('$name', ({ open }) => {
  test('a stream is started, published and heard to its end', async () => {
    const { publisher, streams, asPublisher } = clientsOf(open(story.url));
    const { channelId, asListener } = await started(streams);
    const heard = all(streams.subscribe({ orgId: 1n, channelId }, asListener));

    const first = crypto.randomUUID();
    const payload = { text: 'hello', list: [1, null, { deep: true }] };
    const sent = [
      message({ channelId, phase: Phase.START, messageId: first }),
      message({ channelId, phase: Phase.DELTA, sequence: 1, payload }),
      message({ channelId, phase: Phase.ERROR, sequence: 2 }),
      message({ channelId, phase: Phase.END, sequence: 18446744073709551615n, messageId: first }),
    ];
    const ids: string[] = [];
    for (const one of sent) ids.push((await publisher.publish(one, asPublisher)).id);

    const messages = (await heard).filter(({ event }) => event.case === 'message');
    expect(messages.map(({ id }) => id)).toEqual(ids);
    expect(messages.map(({ event }) => event.value)).toMatchObject(
      sent.map(({ messageId, phase, sequence }) => ({ messageId, channelId, phase, sequence })),
    );
    expect(messages[1]?.event.value).toMatchObject({ payload });
    expect(messages[0]?.event.value).not.toHaveProperty('payload');
  });

  test('a repeated publish is answered with the first id, and says so', async () => {
    const { publisher, asPublisher } = clientsOf(open(story.url));
    const once = message({ sequence: 7 });
    const first = await publisher.publish(once, asPublisher);
    const second = await publisher.publish(once, asPublisher);
    expect([first.duplicate, second.duplicate, second.id]).toEqual([false, true, first.id]);
  });

  test('a listener resumes by id, and hears that an ended stream is over', async () => {
    const { publisher, streams, asPublisher } = clientsOf(open(story.url));
    const { channelId, asListener } = await started(streams);
    const ids: string[] = [];
    for (let sequence = 1; sequence <= 4; sequence++) {
      const phase = sequence === 4 ? Phase.END : Phase.DELTA;
      ids.push((await publisher.publish(message({ channelId, sequence, phase }), asPublisher)).id);
    }
    const heardAfter = (lastEventId = '') => all(streams.subscribe({ orgId: 1n, channelId, lastEventId }, asListener));
    expect((await heardAfter(ids[1])).map(({ id }) => id)).toEqual(ids.slice(2));
    expect(await heardAfter(ids[3])).toEqual([]);
    const [reset, ...nothing] = await heardAfter('9999999999999-0');
    expect(reset).toMatchObject({ id: ids[3], event: { case: 'control', value: { type: ControlType.RESET } } });
    expect(nothing).toEqual([]);
  });

  test('errors arrive with their details', async () => {
    const { publisher, streams, asPublisher } = clientsOf(open(story.url));
    const { channelId, asListener } = await started(streams);

    const wrong = await failureOf(publisher.publish({ channelId: 'x', phase: 9 as Phase }, asPublisher));
    expect(wrong.code).toBe(Code.InvalidArgument);
    const [badRequest] = wrong.findDetails(BadRequestSchema);
    expect(badRequest?.fieldViolations.map(({ field }) => field).sort()).toEqual([
      'channel_id',
      'message_id',
      'org_id',
      'phase',
    ]);
    expect(wrong.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: 'INVALID_ARGUMENT', domain: 'tideway' }]);

    const nobody = await failureOf(publisher.publish(message({})));
    expect([nobody.code, nobody.rawMessage]).toEqual([Code.Unauthenticated, 'Missing authorization header']);
    const nobodyListens = await failureOf(all(streams.subscribe({ orgId: 1n, channelId })));
    expect(nobodyListens.code).toBe(Code.Unauthenticated);
    const elsewhere = await failureOf(
      all(streams.subscribe({ orgId: 1n, channelId: crypto.randomUUID() }, asListener)),
    );
    expect([elsewhere.code, elsewhere.rawMessage]).toEqual([Code.PermissionDenied, 'Invalid token claims']);
    const noId = await failureOf(all(streams.subscribe({ orgId: 1n, channelId, lastEventId: 'x' }, asListener)));
    expect(noId.code).toBe(Code.InvalidArgument);
    expect(noId.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field).toBe('last_event_id');

    await publisher.publish(message({ channelId, phase: Phase.END }), asPublisher);
    const late = await failureOf(publisher.publish(message({ channelId }), asPublisher));
    expect(late.code).toBe(Code.FailedPrecondition);
    expect(late.findDetails(ErrorInfoSchema)[0]?.reason).toBe('STREAM_ENDED');

    const tried = (busy: string) =>
      publisher.publish(message({ channelId: busy }), asPublisher).catch((error: unknown) => ConnectError.from(error));
    const refused = (await overRate(tried, (answer) => answer instanceof ConnectError)) as ConnectError[];
    expect(refused.map(({ code }) => code)).toEqual([Code.ResourceExhausted]);
    expect(refused[0]?.findDetails(QuotaFailureSchema)).toHaveLength(1);
    const [retry] = refused[0]?.findDetails(RetryInfoSchema) ?? [];
    const retryMs = Number(retry?.retryDelay?.seconds) * 1000 + Number(retry?.retryDelay?.nanos) / 1e6;
    expect(retryMs).toBeGreaterThan(0);
    expect(retryMs).toBeLessThanOrEqual(1000);
  });
});

/** What the edge has for others, by name. */
const SERVICES = [
  ConfigService,
  AccountService,
  ControlService,
  EventService,
  RelayService,
  PublishService,
  StreamService,
].map(({ typeName }) => typeName);

describe('health and reflection, as tools ask for them', () => {
  test('health: Check, List and Watch', async () => {
    const health = createClient(Health, createGrpcTransport({ baseUrl: story.url }));
    const known = ['', 'tideway.broker', 'tideway.store', ...SERVICES];
    for (const service of known) {
      expect([service, (await health.check({ service })).status]).toEqual([service, ServingStatus.SERVING]);
    }
    expect((await failureOf(health.check({ service: 'unheard.of' }))).code).toBe(Code.NotFound);
    const { statuses } = await health.list({});
    expect(Object.keys(statuses).sort()).toEqual(expect.arrayContaining(known));
    for await (const { status } of health.watch({ service: 'tideway.broker' })) {
      expect(status).toBe(ServingStatus.SERVING);
      break;
    }
  });

  test('reflection: what there is, and every file that it takes to call it', async () => {
    const reflection = createClient(ServerReflection, createGrpcTransport({ baseUrl: story.url }));
    const answers = await all(
      reflection.serverReflectionInfo(
        (async function* () {
          yield { messageRequest: { case: 'listServices' as const, value: '' } };
          yield { messageRequest: { case: 'fileContainingSymbol' as const, value: PublishService.typeName } };
          yield { messageRequest: { case: 'fileContainingSymbol' as const, value: 'unheard.of' } };
        })(),
      ),
    );
    const [list, file, unknown] = answers.map(({ messageResponse }) => messageResponse);
    expect(list?.value).toMatchObject({
      service: [
        { name: 'grpc.health.v1.Health' },
        { name: 'grpc.reflection.v1.ServerReflection' },
        { name: 'grpc.reflection.v1alpha.ServerReflection' },
        ...SERVICES.map((name) => ({ name })),
      ],
    });
    const files = file?.case === 'fileDescriptorResponse' ? file.value.fileDescriptorProto : [];
    const text = Buffer.concat(files).toString('latin1');
    for (const name of ['publish_service.proto', 'message.proto', 'google/rpc/status.proto', 'google/api/http.proto']) {
      expect(text).toContain(name);
    }
    expect(unknown).toMatchObject({ case: 'errorResponse', value: { errorCode: Code.NotFound } });
  });
});
