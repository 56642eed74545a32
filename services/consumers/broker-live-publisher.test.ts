import { fromBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { Phase, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { type Broker, channelKey } from '#lib/broker/broker.ts';
import { BEFORE_ALL } from '#lib/broker/entry-id.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import { projectChannelId } from '#lib/ids/project-channel.ts';
import { until } from '../../test/support/until.ts';
import { createBrokerLivePublisher } from './broker-live-publisher.ts';
import { KeptReports, newEventId, ORGANIZATION, PROJECT } from './consumers-testing.ts';
import type { LiveSummary } from './live-summary.ts';

const CHANNEL = channelKey(ORGANIZATION, projectChannelId(ORGANIZATION, PROJECT));

function summary(fields: Partial<LiveSummary> = {}): LiveSummary {
  return {
    organizationId: ORGANIZATION,
    projectId: PROJECT,
    eventId: newEventId(),
    level: 'error',
    title: 'ValueError: bad',
    culprit: 'app in index',
    platform: 'python',
    release: 'r@1',
    environment: 'production',
    timeMs: 1_700_000_000_000,
    ...fields,
  };
}

test("an event is a message of its project's stream, once, however often it is published", async () => {
  await using broker = closing(createMemoryBroker());
  const live = createBrokerLivePublisher({ broker, reports: new KeptReports().add });
  const event = summary();
  live.publish([event]);
  live.publish([event]);
  await live.close(1000);
  const { entries } = await broker.read(CHANNEL, BEFORE_ALL, 10);
  expect(entries).toHaveLength(1);
  const { $typeName: _, ...message } = fromBinary(PublishRequestSchema, entries[0]?.data ?? new Uint8Array());
  expect(message).toMatchObject({
    orgId: ORGANIZATION,
    channelId: projectChannelId(ORGANIZATION, PROJECT),
    phase: Phase.DELTA,
    payload: {
      event_id: event.eventId,
      project_id: String(PROJECT),
      level: 'error',
      title: 'ValueError: bad',
      culprit: 'app in index',
      platform: 'python',
      release: 'r@1',
      environment: 'production',
      time: '2023-11-14T22:13:20.000Z',
    },
  });
  expect(message.messageId.replaceAll('-', '')).toBe(event.eventId);
});

test('a project that was quiet for long is published live again', async () => {
  let nowMs = Date.now();
  await using broker = closing(createMemoryBroker({ now: () => nowMs }));
  await broker.governIdle(1_000, 1_000);
  const reports = new KeptReports();
  const live = createBrokerLivePublisher({ broker, reports: reports.add });
  live.publish([summary()]);
  await until('it is published', async () => (await broker.read(CHANNEL, BEFORE_ALL, 10)).entries.length === 1);
  for (let minute = 0; minute < 10; minute++) {
    nowMs += 60_000;
    expect((await broker.endIdle(1_000, 100)).ended).toEqual([]);
  }
  live.publish([summary()]);
  await live.close(1000);
  expect((await broker.read(CHANNEL, BEFORE_ALL, 10)).entries).toHaveLength(1);
  expect(reports.messages).toEqual([]);
});

test('what there is no room for is dropped; it is told once, and once that it is over', async () => {
  await using broker = closing(createMemoryBroker({ maxTotalBytes: 100_000 }));
  const reports = new KeptReports();
  const live = createBrokerLivePublisher({ broker, reports: reports.add, maxWaiting: 100, settleMs: 30 });
  live.publish(Array.from({ length: 150 }, () => summary()));
  live.publish([summary()]);
  await until('it is over', () => reports.all.length === 2);
  expect(reports.messages).toEqual([
    'accepted events are not published live',
    'accepted events are published live again',
  ]);
  const { entries } = await broker.read(CHANNEL, BEFORE_ALL, 1000);
  expect(entries.length + Number(reports.all[1]?.fields['unpublished'])).toBe(151);
  expect(entries.length).toBeGreaterThanOrEqual(64);
  await live.close(1000);
});

test('projects are told apart', async () => {
  await using broker = closing(createMemoryBroker());
  const live = createBrokerLivePublisher({ broker, reports: new KeptReports().add });
  const projects = Array.from({ length: 300 }, (_, n) => (n < 150 ? PROJECT : BigInt(n % 3)));
  live.publish(projects.map((projectId) => summary({ projectId })));
  await live.close(1000);
  for (const project of new Set(projects)) {
    const channel = channelKey(ORGANIZATION, projectChannelId(ORGANIZATION, project));
    const { entries } = await broker.read(channel, BEFORE_ALL, 1000);
    expect(entries).toHaveLength(projects.filter((each) => each === project).length);
  }
});

test('closing waits for what is under way, and not for ever', async () => {
  const broker = createMemoryBroker();
  const live = createBrokerLivePublisher({ broker, reports: new KeptReports().add });
  live.publish(Array.from({ length: 500 }, () => summary()));
  await live.close(5_000);
  expect((await broker.read(CHANNEL, BEFORE_ALL, 1000)).entries).toHaveLength(500);
  await broker.close();
});

function closing(broker: Broker): Broker & AsyncDisposable {
  return Object.assign(broker, { [Symbol.asyncDispose]: () => broker.close() });
}
