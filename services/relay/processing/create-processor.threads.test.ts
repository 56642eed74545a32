import { afterEach, describe, expect, test } from 'vitest';
import type { ProcessInput, Processor } from '../processing.ts';
import { createProcessor, type ProcessorOptions } from './create-processor.ts';
import { GO_EVENT, JAVASCRIPT_EVENT, PYTHON_EVENT } from './fixtures.ts';
import { processEnvelope } from './judge.ts';
import { inputOf, itemOf } from './testing.ts';

const errors: Error[] = [];
let processor: Processor | undefined;

function start(options: Partial<ProcessorOptions> = {}): Processor {
  errors.length = 0;
  processor = createProcessor({ threads: 1, onError: (error) => errors.push(error), ...options });
  return processor;
}

afterEach(async () => await processor?.close());

const HOSTILE = new URL('./worker-testing.ts', import.meta.url);
const idOf = (index: number) => index.toString(16).padStart(32, '0');
const event = (index: number, message = 'fine') =>
  inputOf([itemOf('event', { message }), itemOf('attachment', 'abc')], { envelope: { eventId: idOf(index) } });

/** Every kind of thing, as it comes from the endpoint: views of one body. */
function batch(): ProcessInput[] {
  const shared = { filters: { errorMessages: ['*unwanted*'] } };
  const inputs = [
    inputOf([itemOf('event', PYTHON_EVENT)], { sender: { client: 'sentry.python/2', userAgent: 'x' } }),
    inputOf([itemOf('event', JAVASCRIPT_EVENT), itemOf('attachment', 'bytes', { filename: 'a', contentType: 'b/c' })]),
    inputOf([itemOf('event', { message: 'unwanted' }), itemOf('attachment', 'four')], shared),
    inputOf([itemOf('event', GO_EVENT)], { ...shared, envelope: { sentAtMs: 5 }, sender: { remoteAddr: undefined } }),
    inputOf([itemOf('event', '{')]),
    inputOf([itemOf('user_report', { comments: '✓' }), itemOf('attachment', '')]),
    inputOf([itemOf('attachment', 'MDMP', { attachmentType: 'event.minidump' })]),
    inputOf([
      itemOf('raw_security', { 'csp-report': { 'blocked-uri': 'inline' } }, { headers: { sentry_release: '1', x: 2 } }),
    ]),
    inputOf([itemOf('client_report', { discarded_events: [{ reason: 'a', category: 'error', quantity: 2 }] })]),
    inputOf([itemOf('log', '{}', { headers: { item_count: 3 } }), itemOf('nothing', '')]),
    inputOf([]),
  ];
  return inputs.map((input) => ({
    ...input,
    envelope: {
      ...input.envelope,
      items: input.envelope.items.map((item) => ({ ...item, payload: view(item.payload) })),
    },
  }));
}

function view(payload: Uint8Array): Uint8Array {
  const body = new Uint8Array(payload.byteLength + 20);
  body.set(payload, 7);
  return body.subarray(7, 7 + payload.byteLength);
}

describe('threads', () => {
  test('say what the function says', async () => {
    const inputs = batch();
    const processed = await start().process(inputs);
    expect(plain(processed)).toEqual(plain(inputs.map(processEnvelope)));
    // What isn't read doesn't travel.
    expect(processed[1]?.attachments[0]?.payload).toBe(inputs[1]?.envelope.items[1]?.payload);
    expect(errors).toEqual([]);
  });

  test('take many batches at once', async () => {
    const { process } = bound(start({ threads: 2 }));
    const batches = Array.from({ length: 20 }, (_, at) =>
      Array.from({ length: 7 }, (_, index) => event(at * 7 + index)),
    );
    const processed = (await Promise.all(batches.map(process))).flat();
    expect(processed.map(({ events }) => events[0]?.eventId)).toEqual(batches.flat().map((_, index) => idOf(index)));
  });

  test('an empty batch is nothing', async () => {
    expect(await start().process([])).toEqual([]);
  });

  test.each(['please throw', 'please exit', 'please eat'])(
    'an event that makes one die is refused, and the others are not: %s',
    async (message) => {
      const { process } = bound(start({ workerUrl: HOSTILE, threadMemoryMb: 64 }));
      const inputs = [event(0), event(1), event(2, message), event(3)];
      const processed = await process(inputs);
      expect(processed.map(({ events }) => events.length)).toEqual([1, 1, 0, 1]);
      expect(processed[2]).toMatchObject({
        attachments: [],
        refused: [
          { outcome: 'invalid', reason: 'internal', category: 'error', quantity: 1, eventId: idOf(2) },
          { outcome: 'invalid', reason: 'internal', category: 'attachment', quantity: 3, eventId: idOf(2) },
          { outcome: 'invalid', reason: 'internal', category: 'attachment_item', quantity: 1, eventId: idOf(2) },
        ],
      });
      expect(errors).toHaveLength(2);
      // Later batches meet a thread that lives.
      expect((await process([event(4)]))[0]?.events).toHaveLength(1);
    },
  );

  test('one that hangs is ended; what waits for it has its time when it comes', async () => {
    const { process } = bound(start({ workerUrl: HOSTILE, batchTimeoutMs: 3000 }));
    const hanging = process([event(0, 'please hang')]);
    const behind = process([event(1)]);
    expect((await hanging)[0]?.refused[0]?.reason).toBe('internal');
    expect((await behind)[0]?.events).toHaveLength(1);
  });

  test('closing waits for what was given, and takes nothing more', async () => {
    const { process, close } = bound(start());
    const running = process([event(0)]);
    await close();
    expect((await running)[0]?.events).toHaveLength(1);
    await expect(process([event(1)])).rejects.toThrow('closed');
    await close();
  });
});

function bound({ process, close }: Processor) {
  return {
    process: (inputs: readonly ProcessInput[]) => process.call(processor, inputs),
    close: () => close.call(processor),
  };
}

/** Ids that are new each time are left out; payloads are compared as texts. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, each) => {
      if (each?.type === 'Buffer') return Buffer.from(each.data).toString();
      return each instanceof Uint8Array ? Buffer.from(each).toString() : each;
    }),
  );
}
