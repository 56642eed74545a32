import { Code, ConnectError } from '@connectrpc/connect';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '#gen/google/rpc/error_details_pb.ts';
import { printable } from './output.ts';
import { EXIT } from './usage.ts';

/** What to do about a call that failed. Everything that these commands call is safe to repeat. */
export type Advice = { readonly kind: 'retry'; readonly afterMs: number } | { readonly kind: 'give_up' };

export function adviceFor(error: ConnectError): Advice {
  const afterMs = retryDelayMs(error);
  switch (error.code) {
    case Code.Unavailable:
    case Code.Aborted:
    case Code.DeadlineExceeded:
      return { kind: 'retry', afterMs: afterMs ?? 0 };
    case Code.ResourceExhausted:
      // With RetryInfo it is the rate, without it the size, which no repetition changes.
      return afterMs === undefined ? { kind: 'give_up' } : { kind: 'retry', afterMs };
    case Code.Internal:
    case Code.Unknown:
    case Code.Canceled:
      // A connection that dies under a call looks like this too, but then no server has set a status.
      return error.metadata.has('grpc-status') ? { kind: 'give_up' } : { kind: 'retry', afterMs: 0 };
    default:
      return { kind: 'give_up' };
  }
}

/** True if nothing listens at the address: there is no server whose recovery could be waited for. */
export function isUnreachable(error: unknown): boolean {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 8; cause = cause.cause, depth++) {
    if ('code' in cause && typeof cause.code === 'string' && UNREACHABLE.has(cause.code)) return true;
    // Node tries every address of a name and reports all the failures as one.
    if (cause instanceof AggregateError && cause.errors.some(isUnreachable)) return true;
  }
  return false;
}

/** What went wrong, for scripts: an edge that is away, or one that refused. */
export function exitCodeOf(error: ConnectError): number {
  return adviceFor(error).kind === 'retry' ? EXIT.away : EXIT.refused;
}

/** One line for a person. Never a stack trace, a token or a control character. */
export function explain(error: unknown, url: string): string {
  if (isUnreachable(error)) {
    return isLoopback(url) ? `Can't reach ${url}: is \`npm start\` running?` : `Can't reach ${url}.`;
  }
  const failure = ConnectError.from(error);
  const said = printable(failure.rawMessage.trim()).replaceAll('\n', ' ') || 'no reason given';
  switch (failure.code) {
    case Code.Unauthenticated:
      return `The token was refused: ${said}.`;
    case Code.PermissionDenied:
      return `The token does not allow this: ${said}.`;
    case Code.FailedPrecondition:
      return failure.findDetails(ErrorInfoSchema).some((info) => info.reason === 'STREAM_ENDED')
        ? 'The stream has ended: nothing more can be published to this channel.'
        : `Refused: ${said}.`;
    case Code.InvalidArgument: {
      const fields = failure
        .findDetails(BadRequestSchema)
        .flatMap((details) => details.fieldViolations)
        .map((violation) => printable(`${violation.field}: ${violation.description}`));
      return `Refused: ${fields.length > 0 ? fields.join('; ') : said}.`;
    }
    case Code.Unimplemented:
    case Code.NotFound:
      return `${url} answers, but not as a Tideway edge does: ${said}.`;
    default:
      return `${Code[failure.code]}: ${said}.`;
  }
}

export function isLoopback(url: string): boolean {
  const { hostname } = new URL(url);
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

const UNREACHABLE = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EHOSTUNREACH', 'ENETUNREACH']);

function retryDelayMs(error: ConnectError): number | undefined {
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return delay === undefined ? undefined : Number(delay.seconds) * 1000 + delay.nanos / 1e6;
}
