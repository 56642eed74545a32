import type { DataCategory } from '#lib/ingest/data-category.ts';
import { callerAddress, networkOf } from '#lib/server/caller-address.ts';
import { discardBody } from '#lib/server/discard-body.ts';
import type { HttpTree } from '#lib/server/http-route.ts';
import { headerOf, type NodeServerRequest, type NodeServerResponse } from '#lib/server/node-http.ts';
import { sendHealth, sendPreflight, sendRefusal } from './answers.ts';
import { takeAttachments } from './attachments.ts';
import { readAuth } from './auth.ts';
import type { BodiesOfCallers } from './bodies-of-callers.ts';
import { EnvelopeRefusal } from './envelope-refusal.ts';
import { IntakeCall, type IntakeOptions } from './http-call.ts';
import { takeEnvelope } from './http-envelope.ts';
import { isIntakePath, type Target, targetOf } from './http-path.ts';
import { takeMinidump } from './minidump.ts';
import { takeSecurity } from './security.ts';
import { takeStore } from './store.ts';
import type { UnderWay } from './under-way.ts';

export interface EndpointOptions extends IntakeOptions {
  readonly bodies: BodiesOfCallers;
  readonly underWay: UnderWay;
  /** Proxies of ours in front of the edge: see callerAddress. */
  readonly trustedHops: number;
  /** Whether this process should be sent more. */
  readonly isReady: () => boolean;
  /** From a request's first byte to the end of its body. */
  readonly requestTimeoutMs: number;
  /** Hears of what nobody expected. */
  readonly onError: (error: unknown) => void;
}

/**
 * What SDKs speak to, by HTTP. Nothing is waited for but the body: who it is from is read before it, what becomes of it is
 * the intake's to say, from memory.
 */
export function intakeEndpoint(options: EndpointOptions): HttpTree {
  return {
    owns: isIntakePath,
    requestTimeoutMs: options.requestTimeoutMs,
    handle(request, response, path, query) {
      const target = targetOf(path);
      if (request.method === 'OPTIONS') {
        discardBody(request);
        sendPreflight(response);
      } else if (target === undefined) {
        refuse(request, response, new EnvelopeRefusal('not_found'));
      } else if (!methodsOf(target).includes(request.method ?? '')) {
        refuse(request, response, new EnvelopeRefusal('method_not_allowed'), ['allow', methodsOf(target).join(', ')]);
      } else if (target.kind === 'live') {
        sendHealth(response, true);
      } else if (target.kind === 'ready') {
        sendHealth(response, options.isReady());
      } else {
        const caller = callerOf(request, options.trustedHops);
        if (!options.bodies.begin(caller)) {
          refuse(request, response, new EnvelopeRefusal('too_many_bodies'));
          return;
        }
        options.underWay.begin();
        void take(request, response, target, query, options, caller).then(() => {
          options.bodies.end(caller);
          options.underWay.end();
        });
      }
    },
  };
}

function callerOf(request: NodeServerRequest, trustedHops: number): string {
  const forwardedFor = headerOf(request, 'x-forwarded-for');
  return networkOf(callerAddress(forwardedFor ?? request.socket.remoteAddress, trustedHops));
}

type IntakeTarget = Exclude<Target, { kind: 'live' } | { kind: 'ready' }>;

const METHODS: Readonly<Record<Target['kind'], readonly string[]>> = {
  envelope: ['POST'],
  store: ['POST', 'GET'],
  security: ['POST'],
  minidump: ['POST'],
  attachments: ['POST'],
  live: ['GET', 'HEAD'],
  ready: ['GET', 'HEAD'],
};

function methodsOf({ kind }: Target): readonly string[] {
  return METHODS[kind];
}

/** What something that can't be read would have been. */
const CATEGORIES: Readonly<Record<IntakeTarget['kind'], DataCategory>> = {
  envelope: 'error',
  store: 'error',
  security: 'security',
  minidump: 'error',
  attachments: 'attachment_item',
};

/** Never rejects. */
async function take(
  request: NodeServerRequest,
  response: NodeServerResponse,
  target: IntakeTarget,
  query: string,
  options: EndpointOptions,
  caller: string,
): Promise<void> {
  let call: IntakeCall | undefined;
  try {
    call = new IntakeCall(request, response, query, target.projectId, options, caller);
    const auth = readAuth(request.headers, query);
    if (auth !== undefined) call.setSender(auth);
    // The others say it nowhere else.
    else if (target.kind !== 'envelope') throw new EnvelopeRefusal('missing_auth');
    await dispatch(call, target);
  } catch (error) {
    if (!(error instanceof EnvelopeRefusal)) options.onError(error);
    const refusal = error instanceof EnvelopeRefusal ? error : new EnvelopeRefusal('internal');
    const { outcome: reason, category = CATEGORIES[target.kind] } = refusal;
    if (reason !== undefined && call?.sender !== undefined) {
      options.onInvalid({ sender: call.sender, reason, category });
    }
    refuse(request, response, refusal);
  }
}

function dispatch(call: IntakeCall, target: IntakeTarget): Promise<void> {
  switch (target.kind) {
    case 'envelope':
      return takeEnvelope(call);
    case 'store':
      return takeStore(call);
    case 'security':
      return takeSecurity(call);
    case 'attachments':
      return takeAttachments(call, target.eventId);
    case 'minidump':
      return takeMinidump(call);
  }
}

function refuse(
  request: NodeServerRequest,
  response: NodeServerResponse,
  refusal: EnvelopeRefusal,
  more?: readonly string[],
): void {
  if (!request.readableEnded) discardBody(request);
  sendRefusal(response, refusal, more);
}
