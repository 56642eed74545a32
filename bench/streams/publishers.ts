import { encodeEnvelope } from '@connectrpc/connect/protocol';
import type { PublishJob } from './jobs.ts';
import { lengthDelimited, MessageTemplate } from './message-template.ts';
import { PUBLISH_KINDS } from './publish-kinds.ts';
import { RawH2 } from './raw-h2.ts';
import { postHead, RawHttp } from './raw-http.ts';

/** Told what became of the messages of one request: undefined, or with what they were refused. */
export type OnAnswer = (messages: number, refusal: string | undefined) => void;

/** One of those who publish at the same time. */
export interface Publisher {
  /** How many more messages it may send before it has an answer: it takes that many, or in whole requests none. */
  readonly room: number;
  /** Sends one request, with messages of that channel. */
  publish(channel: number, timeUs: number, onAnswer: OnAnswer): void;
  /** Sends what was held together; publishers without such a thing have sent it already. */
  flush(): void;
}

const SERVICE = '/tideway.stream.v1.PublishService';
const ENVELOPE_HEAD_BYTES = 5;
const END_OF_CALL_FLAGS = 0x80 | 0x02;

export async function createPublisher(job: PublishJob): Promise<Publisher> {
  switch (job.how) {
    case 'http':
      return httpPublisher(job);
    case 'batch':
      return batchPublisher(job);
    case 'stream':
      return streamPublisher(job);
  }
}

async function httpPublisher(job: PublishJob): Promise<Publisher> {
  const template = new MessageTemplate(job.orgId, job.fillerBytes, (message) => message);
  const pathOf = (channelId: string) => `/publish/${job.orgId}/${channelId}`;
  return requestPublisher(job, template, pathOf, 'application/x-protobuf', 1);
}

async function batchPublisher(job: PublishJob): Promise<Publisher> {
  const template = new MessageTemplate(job.orgId, job.fillerBytes, (message) => lengthDelimited(1, message));
  const { messagesPerRequest } = PUBLISH_KINDS.batch;
  return requestPublisher(job, template, () => `${SERVICE}/PublishBatch`, 'application/proto', messagesPerRequest);
}

async function requestPublisher(
  job: PublishJob,
  template: MessageTemplate,
  pathOf: (channelId: string) => string,
  contentType: string,
  messages: number,
): Promise<Publisher> {
  const connection = await RawHttp.connect(job.place);
  const size = template.bytes.length;
  const heads = job.channelIds.map((channelId) =>
    postHead(job.place, pathOf(channelId), {
      authorization: `Bearer ${job.token}`,
      'content-type': contentType,
      'content-length': size * messages,
    }),
  );
  const body = Buffer.concat(Array.from({ length: messages }, () => template.bytes));
  let waiting = false;
  return {
    get room() {
      return waiting ? 0 : messages;
    },
    publish(channel, timeUs, onAnswer) {
      const head = heads[channel] as Buffer;
      const request = Buffer.concat([head, body]);
      for (let n = 0; n < messages; n++) {
        template.fill(request, head.length + n * size, job.channelIds[channel] ?? '', timeUs);
      }
      waiting = true;
      connection.send(request, (status) => {
        waiting = false;
        onAnswer(messages, status === 200 ? undefined : status === 0 ? 'a cut connection' : `HTTP ${status}`);
      });
    },
    flush() {},
  };
}

async function streamPublisher(job: PublishJob): Promise<Publisher> {
  const { unanswered } = PUBLISH_KINDS.stream;
  const connection = await RawH2.connect(job.place, Buffer.alloc(64 * 1024));
  const template = new MessageTemplate(job.orgId, job.fillerBytes, (message) =>
    encodeEnvelope(0, lengthDelimited(1, message)),
  );
  const waiting: OnAnswer[] = [];
  let unsent: Buffer[] = [];
  const answers = new EnvelopeReader((flags, content) => {
    if ((flags & END_OF_CALL_FLAGS) !== 0) return;
    // The position comes first, then `published` or `error`, whose number tells which.
    waiting.shift()?.(1, hasError(content) ? 'a status' : undefined);
  });
  const call = connection.open(
    {
      ...{ ':method': 'POST', ':scheme': 'http', ':path': `${SERVICE}/PublishStream`, ':authority': job.place.host },
      ...{ 'content-type': 'application/grpc+proto', te: 'trailers', authorization: `Bearer ${job.token}` },
    },
    undefined,
    {
      onHeaders() {},
      onData: (part) => answers.read(part),
      onEnd() {
        for (const onAnswer of waiting.splice(0)) onAnswer(1, 'the end of the call');
      },
    },
  );
  return {
    get room() {
      return unanswered - waiting.length;
    },
    publish(channel, timeUs, onAnswer) {
      const message = Buffer.from(template.bytes);
      template.fill(message, 0, job.channelIds[channel] ?? '', timeUs);
      waiting.push(onAnswer);
      unsent.push(message);
    },
    flush() {
      if (unsent.length > 0) connection.send(call, unsent);
      unsent = [];
    },
  };
}

/** Of a PublishStreamResponse: `error` is field 3. */
function hasError(content: Buffer): boolean {
  let at = 0;
  if (content[0] === 1 << 3) {
    at = 1;
    while (((content[at] ?? 0) & 128) !== 0) at++;
    at++;
  }
  return content[at] !== ((2 << 3) | 2);
}

/** Takes gRPC's length-prefixed messages out of a stream of bytes. */
class EnvelopeReader {
  readonly #onMessage: (flags: number, content: Buffer) => void;
  #rest: Buffer = Buffer.alloc(0);

  constructor(onMessage: (flags: number, content: Buffer) => void) {
    this.#onMessage = onMessage;
  }

  read(part: Buffer): void {
    const bytes = this.#rest.length === 0 ? part : Buffer.concat([this.#rest, part]);
    let at = 0;
    while (bytes.length - at >= ENVELOPE_HEAD_BYTES) {
      const end = at + ENVELOPE_HEAD_BYTES + bytes.readUInt32BE(at + 1);
      if (end > bytes.length) break;
      this.#onMessage(bytes[at] ?? 0, bytes.subarray(at + ENVELOPE_HEAD_BYTES, end));
      at = end;
    }
    // The part is valid during this call only.
    this.#rest = at === bytes.length ? Buffer.alloc(0) : Buffer.from(bytes.subarray(at));
  }
}
