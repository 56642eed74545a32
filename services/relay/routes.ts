import type { IncomingHttpHeaders } from 'node:http';
import { RelayService } from '#gen/tideway/relay/v1/relay_service_pb.ts';
import { callerAddress, networkOf } from '#lib/server/caller-address.ts';
import type { Gate } from '#lib/server/gate.ts';
import { Refusal } from '#lib/server/refusal.ts';
import { admit } from '#lib/server/rpc.ts';
import type { ServiceParts } from '#lib/server/run-service.ts';
import { BodiesOfCallers, DEFAULT_MAX_BODIES_PER_ADDRESS } from './bodies-of-callers.ts';
import { clientAddressOf } from './client-address.ts';
import { intakeEndpoint } from './endpoint.ts';
import { DEFAULT_ENVELOPE_LIMITS, type EnvelopeLimits } from './envelope-limits.ts';
import { FairShares } from './fair-shares.ts';
import { type InvalidRequest, originOf } from './http-call.ts';
import type { Intake } from './intake.ts';
import { RpcCalls } from './rpc-calls.ts';
import { sendEnvelopes } from './send-envelopes.ts';
import { UnderWay } from './under-way.ts';

export interface RelayFacesOptions {
  readonly gate: Gate;
  readonly intake: Intake;
  /** Whether the value of an Authorization header is a relay's of ours. @throws Refusal */
  readonly isRelay: (authorization: string) => boolean;
  readonly limits?: Partial<EnvelopeLimits>;
  /** Of all bodies that are being received by HTTP. */
  readonly maxReceivingBytes?: number;
  /** Of one caller, how many of them; 0: any number. */
  readonly maxBodiesPerAddress?: number;
  /** Hears of a caller that has as many, once in a while. */
  readonly onAddressFull?: (address: string) => void;
  /** Proxies of ours in front of the edge. */
  readonly trustedHops?: number;
  /** Of one such body. */
  readonly requestTimeoutMs?: number;
  /** Whether this process should be sent more, as long as it doesn't drain. */
  readonly isReady?: () => boolean;
  /** What was refused before it reached the intake is owed an outcome. */
  readonly onInvalid?: (invalid: InvalidRequest) => void;
  readonly onError: (error: unknown) => void;
}

/** For a whole request: attachments may be large and come from anywhere. The edge waits as long. */
export const INTAKE_TIMEOUT_MS = 300_000;
export const DEFAULT_MAX_RECEIVING_BYTES = 512 * 1024 * 1024;

/** Of one message: what a relay passes on at once. HTTP takes more, in one request for each. */
export const RELAY_RPC_MAX_MESSAGE_BYTES = 32 * 1024 * 1024;
/** Of the time that a drain has for what is under way: what is received until then is taken, and the rest is for the log. */
const DRAIN_RECEIVING_SHARE = 0.4;

/** The relay's two faces: what SDKs speak to, by HTTP, and RelayService. */
export function relayFaces(options: RelayFacesOptions): ServiceParts {
  const { gate, intake, isRelay, isReady = () => true, onInvalid = () => {}, onError } = options;
  const limits = { ...DEFAULT_ENVELOPE_LIMITS, ...options.limits };
  const trustedHops = options.trustedHops ?? 0;
  const draining = new AbortController();
  const cut = new AbortController();
  let isDraining = false;
  const underWay = new UnderWay();
  const calls = new RpcCalls(underWay);
  const callers = admit((headers) => {
    const authorization = headers.get('authorization');
    if (authorization === null) return { isRelay: false };
    if (!isRelay(authorization)) throw new Refusal('relay_token_invalid');
    return { isRelay: true };
  });
  return {
    services: [RelayService],
    http: [],
    trees: [
      intakeEndpoint({
        intake,
        limits,
        budget: new FairShares(options.maxReceivingBytes ?? DEFAULT_MAX_RECEIVING_BYTES),
        bodies: new BodiesOfCallers(
          options.maxBodiesPerAddress ?? DEFAULT_MAX_BODIES_PER_ADDRESS,
          options.onAddressFull,
        ),
        underWay,
        trustedHops,
        isReady: () => !isDraining && isReady(),
        requestTimeoutMs: options.requestTimeoutMs ?? INTAKE_TIMEOUT_MS,
        onInvalid,
        onError,
      }),
    ],
    rpc(router, onError) {
      router.service(
        RelayService,
        {
          async *sendEnvelopes(requests, context) {
            const caller = callers.claimsOf(context);
            const forwardedFor = context.requestHeader.get('x-forwarded-for');
            const address = forwardedFor === null ? undefined : networkOf(callerAddress(forwardedFor, trustedHops));
            const end = caller.isRelay ? calls.beginRelay() : calls.beginStranger(address);
            try {
              yield* sendEnvelopes(requests, {
                gate,
                intake,
                limits,
                onInvalid,
                isRelay: caller.isRelay,
                caller: callerOf(context.requestHeader),
                draining: draining.signal,
                signal: AbortSignal.any([context.signal, cut.signal]),
              });
            } finally {
              end();
            }
          },
        },
        { readMaxBytes: RELAY_RPC_MAX_MESSAGE_BYTES, requestGate: callers.requestGate(onError) },
      );
    },
    drainBegins() {
      isDraining = true;
    },
    async drain(spreadMs) {
      draining.abort();
      await underWay.idle(DRAIN_RECEIVING_SHARE * spreadMs);
      cut.abort();
    },
  };
}

function callerOf(header: Headers) {
  const headers: IncomingHttpHeaders = Object.fromEntries(header);
  return {
    remoteAddr: clientAddressOf(headers, undefined),
    origin: originOf(headers),
    userAgent: headers['user-agent'],
  };
}
