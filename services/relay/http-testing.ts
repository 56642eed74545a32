import { onTestFinished } from 'vitest';
import { Gate } from '#lib/server/gate.ts';
import { routeHttp } from '#lib/server/http-route.ts';
import type { ListenLimits } from '#lib/server/limits.ts';
import { listen } from '#lib/server/listen.ts';
import { type RunningService, runService, type ServiceParts } from '#lib/server/run-service.ts';
import { createLogger } from '#lib/telemetry/logger.ts';
import { ask, type RawAnswer } from '../../test/support/raw-request.ts';
import { relayTokens } from './auth-relay-tokens.ts';
import type { Item, Received } from './envelope.ts';
import type { InvalidRequest } from './http-call.ts';
import type { Accepted, Intake } from './intake.ts';
import { type RelayFacesOptions, relayFaces } from './routes.ts';

export const KEY = '0123456789abcdef0123456789abcdef';
export const OTHER_KEY = 'f'.repeat(32);
export const EVENT_ID = '9ec79c33ec9942ab8353589fcb2e04dc';
export const RELAY_TOKEN = 'a-token-of-our-own-relays-in-tests';
export const AUTH = { 'x-sentry-auth': `Sentry sentry_key=${KEY}, sentry_version=7, sentry_client=test/1.0` };

export const QUEUED: Accepted = { kind: 'queued', limits: [], settled: Promise.resolve(true) };

/** An intake that keeps what it was handed and answers what it is told to: for tests of the faces alone. */
export class RecordingIntake implements Intake {
  readonly received: Received[] = [];
  answer: (received: Received) => Accepted = () => QUEUED;

  accept(received: Received): Accepted {
    this.received.push(received);
    return this.answer(received);
  }

  /** The one envelope that came. */
  get only(): Received {
    const [first, ...more] = this.received;
    if (first === undefined || more.length > 0) throw new Error(`${this.received.length} envelopes came`);
    return first;
  }

  get items(): { type: string; payload: string }[] {
    return this.only.envelope.items.map(({ type, payload }: Item) => ({
      type,
      payload: Buffer.from(payload).toString(),
    }));
  }
}

export type AskOptions = Parameters<typeof ask>[1];

export interface FacesUnderTest {
  readonly port: number;
  readonly intake: RecordingIntake;
  readonly invalid: InvalidRequest[];
  readonly errors: unknown[];
  /** With AUTH, where it says nothing of headers. */
  post(path: string, body?: Uint8Array | string | readonly Uint8Array[], headers?: object): Promise<RawAnswer>;
  ask(path: string, options?: AskOptions): Promise<RawAnswer>;
}

export async function startEndpoint(options: Partial<RelayFacesOptions> = {}): Promise<FacesUnderTest> {
  const { parts, intake, invalid, errors } = facesUnderTest(options);
  const handler = routeHttp([], (error) => errors.push(error), parts.trees);
  const listening = await listen({ host: '127.0.0.1', port: 0, handler, onError: (error) => errors.push(error) });
  onTestFinished(async () => {
    listening.destroy();
    await listening.stopAccepting();
  });
  const url = `http://127.0.0.1:${listening.port}`;
  return {
    port: listening.port,
    intake,
    invalid,
    errors,
    ask: (path, more) => ask(url + path, more),
    post: (path, body, headers = AUTH) =>
      ask(url + path, { method: 'POST', headers: { ...headers }, ...(body === undefined ? {} : { body }) }),
  };
}

export interface ServiceUnderTest {
  readonly url: string;
  readonly intake: RecordingIntake;
  readonly running: RunningService;
}

/** The faces as a service runs them, with its RPCs. */
export async function startService({
  drainTimeoutMs = 100,
  limits = {},
  beside = [],
  ...faces
}: {
  readonly drainTimeoutMs?: number;
  /** Of the port. */
  readonly limits?: Partial<ListenLimits>;
  /** On the same port, as in the monolith. */
  readonly beside?: readonly ServiceParts[];
  readonly requestTimeoutMs?: number;
  readonly trustedHops?: number;
  readonly maxBodiesPerAddress?: number;
} = {}): Promise<ServiceUnderTest> {
  const { parts, intake } = facesUnderTest(faces);
  const running = await runService({
    host: '127.0.0.1',
    port: 0,
    parts: [parts, ...beside],
    limits: { deadlineCheckIntervalMs: 20, ...limits },
    reflection: false,
    drainTimeoutMs,
    logger: createLogger('relay', 'silent'),
  });
  onTestFinished(() => running.stop());
  return { url: `http://127.0.0.1:${running.port}`, intake, running };
}

function facesUnderTest(options: Partial<RelayFacesOptions> = {}) {
  const intake = new RecordingIntake();
  const invalid: InvalidRequest[] = [];
  const errors: unknown[] = [];
  const parts = relayFaces({
    gate: new Gate({}),
    intake,
    isRelay: relayTokens([RELAY_TOKEN]),
    onInvalid: (request) => invalid.push(request),
    onError: (error) => errors.push(error),
    ...options,
  });
  return { parts, intake, invalid, errors };
}

/** As once a drain has begun. */
export function connectionsAreRefused(url: string): Promise<boolean> {
  return fetch(`${url}/healthz`).then(
    () => false,
    () => true,
  );
}
