import { setTimeout as delay } from 'node:timers/promises';
import type { Answer, Ask, PublishJob } from './jobs.ts';
import { answerAsks } from './load-process.ts';
import { measuredOf } from './percentiles.ts';
import { createPublisher, type Publisher } from './publishers.ts';
import { createClock } from './time-mark.ts';

// Publishers, in a process of their own: as fast as they are answered, or so many messages a second, evenly, each of which
// the first publisher sends that has nothing under way.

const FLUSH_DEADLINE_MS = 10_000;
/** One answer in so many is looked at for its time. */
const SAMPLED = 7;

const clock = createClock();
let running = false;
let waiting = 0;
let acknowledged: number[] = [];
const refusals: Record<string, number> = {};
let total = 0;
let countedFrom = 0;
let measuring = false;
const samplesUs: number[] = [];

answerAsks(async (ask: Ask): Promise<Answer> => {
  switch (ask.kind) {
    case 'publish':
      await start(ask);
      return { kind: 'publishing' };
    case 'begin':
      countedFrom = total;
      samplesUs.length = 0;
      measuring = true;
      return { kind: 'begun' };
    case 'end':
      measuring = false;
      return { kind: 'measured', measured: measuredOf(total - countedFrom, samplesUs) };
    case 'finish': {
      running = false;
      const deadlineMs = performance.now() + FLUSH_DEADLINE_MS;
      while (waiting > 0 && performance.now() < deadlineMs) await delay(20);
      if (waiting > 0) refuse('no answer', waiting);
      return { kind: 'published', acknowledged, refusals };
    }
    case 'listen':
      throw new Error('this process publishes');
  }
});

async function start(job: PublishJob): Promise<void> {
  const publishers = await Promise.all(Array.from({ length: job.publishers }, () => createPublisher(job)));
  acknowledged = job.channelIds.map(() => 0);
  running = true;
  if (job.messagesPerSec > 0) startEvenly(job, publishers);
  else for (const publisher of publishers) publishOn(job, publisher);
}

let nextChannel = 0;

function send(job: PublishJob, publisher: Publisher, onAnswer: () => void): void {
  const channel = nextChannel;
  nextChannel = (nextChannel + 1) % job.channelIds.length;
  const startUs = clock();
  waiting++;
  publisher.publish(channel, startUs, (messages, refusal) => {
    waiting--;
    if (refusal === undefined) {
      total += messages;
      acknowledged[channel] = (acknowledged[channel] ?? 0) + messages;
      if (measuring && total % SAMPLED < messages) samplesUs.push(clock() - startUs);
    } else {
      refuse(refusal, messages);
    }
    onAnswer();
  });
}

function refuse(refusal: string, messages: number): void {
  refusals[refusal] = (refusals[refusal] ?? 0) + messages;
}

/** Refills its publisher once in a turn, however many answers came in it, as one that buffers would. */
function publishOn(job: PublishJob, publisher: Publisher): void {
  let due = false;
  const fill = () => {
    due = false;
    while (running && publisher.room > 0) send(job, publisher, onAnswer);
    publisher.flush();
  };
  const onAnswer = () => {
    if (due) return;
    due = true;
    setImmediate(fill);
  };
  fill();
}

function startEvenly(job: PublishJob, publishers: readonly Publisher[]): void {
  const startMs = performance.now();
  let sent = 0;
  const tick = setInterval(() => {
    if (!running) clearInterval(tick);
    const wanted = ((performance.now() - startMs) / 1000) * job.messagesPerSec;
    for (; running && sent < wanted; sent++) {
      const free = publishers.find(({ room }) => room > 0);
      // They all wait: what is due is sent when one is free again.
      if (free === undefined) return;
      send(job, free, () => {});
      free.flush();
    }
  }, 1);
}
