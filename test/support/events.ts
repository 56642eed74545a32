import { type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from 'node:http';
import { until } from './until.ts';

/** One server-sent event, field by field as it was written. */
export interface SseEvent {
  readonly id?: string;
  readonly event?: string;
  readonly data?: string;
  readonly retry?: string;
}

/** A response that goes on: read byte by byte, and never reconnected. */
export interface EventsResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Name, value, name, value … */
  readonly rawHeaders: readonly string[];
  /** All that came so far, with comments. */
  text(): string;
  /** The same as events; comments left out. */
  events(): SseEvent[];
  /** `whole` once the server ended it, `cut` if the connection went away before. */
  end(): 'open' | 'whole' | 'cut';
  /** Resolves with the events once there are so many with the given name. */
  received(count: number, name?: string): Promise<SseEvent[]>;
  /** Resolves with the events once the server ended the response. */
  ended(): Promise<SseEvent[]>;
  close(): void;
}

const DEADLINE_MS = 20_000;

export function listen(url: string, headers: OutgoingHttpHeaders = {}): Promise<EventsResponse> {
  return new Promise((resolve, reject) => {
    const asking = request(url, { headers, agent: false }, (response) => {
      let text = '';
      let end: 'open' | 'whole' | 'cut' = 'open';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        end = 'whole';
      });
      response.on('error', () => {});
      response.on('close', () => {
        if (end === 'open') end = 'cut';
      });
      const events = () => parseEvents(text);
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        rawHeaders: response.rawHeaders,
        text: () => text,
        events,
        end: () => end,
        async received(count, name = 'stream') {
          const enough = () => events().filter(({ event }) => event === name).length >= count;
          await until(`${count} events named ${name}`, enough, DEADLINE_MS);
          return events().filter(({ event }) => event === name);
        },
        async ended() {
          await until('the response ends', () => end === 'whole', DEADLINE_MS);
          return events();
        },
        close: () => response.destroy(),
      });
    });
    asking.on('error', reject);
    asking.end();
  });
}

/** What is between blank lines. The last block counts only if it is complete. */
export function parseEvents(text: string): SseEvent[] {
  return text
    .split('\n\n')
    .slice(0, -1)
    .map((block) => {
      const fields = block
        .split('\n')
        .filter((line) => !line.startsWith(':'))
        .map((line) => {
          const colon = line.indexOf(':');
          return [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, '')];
        });
      return Object.fromEntries(fields);
    })
    .filter((event) => Object.keys(event).length > 0);
}

/** The `data` of events as JSON. */
export function dataOf(events: readonly SseEvent[]) {
  return events.flatMap(({ data }) => (data === undefined ? [] : [JSON.parse(data)]));
}
