import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '#gen/google/rpc/error_details_pb.ts';
import { adviceFor, explain, isUnreachable } from './failure.ts';

const URL_HERE = 'http://127.0.0.1:8080';
const inTwoSeconds = { desc: RetryInfoSchema, value: { retryDelay: { seconds: 2n, nanos: 500_000_000 } } };

describe('adviceFor', () => {
  it('retries what is away, and waits as long as it is told', () => {
    expect(adviceFor(new ConnectError('away', Code.Unavailable))).toEqual({ kind: 'retry', afterMs: 0 });
    expect(adviceFor(new ConnectError('away', Code.Unavailable, undefined, [inTwoSeconds]))).toEqual({
      kind: 'retry',
      afterMs: 2500,
    });
  });

  it('tells the rate from the size', () => {
    expect(adviceFor(new ConnectError('rate', Code.ResourceExhausted, undefined, [inTwoSeconds])).kind).toBe('retry');
    expect(adviceFor(new ConnectError('size', Code.ResourceExhausted)).kind).toBe('give_up');
  });

  it('tells a broken connection from an error that a server reported', () => {
    expect(adviceFor(new ConnectError('http/2 stream closed', Code.Internal)).kind).toBe('retry');
    expect(adviceFor(new ConnectError('bug', Code.Internal, { 'grpc-status': '13' })).kind).toBe('give_up');
  });

  it.each([Code.InvalidArgument, Code.Unauthenticated, Code.PermissionDenied, Code.FailedPrecondition])(
    'gives up on code %i',
    (code) => {
      expect(adviceFor(new ConnectError('no', code)).kind).toBe('give_up');
    },
  );
});

describe('explain', () => {
  const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });

  it('asks for npm start where nothing listens on this machine', () => {
    const error = ConnectError.from(refused, Code.Unavailable);
    error.cause = refused;
    expect(isUnreachable(error)).toBe(true);
    expect(explain(error, URL_HERE)).toBe("Can't reach http://127.0.0.1:8080: is `npm start` running?");
    expect(explain(error, 'https://edge.example')).toBe("Can't reach https://edge.example.");
  });

  it('sees a refusal of every address of a name', () => {
    expect(isUnreachable(new AggregateError([refused]))).toBe(true);
  });

  it('names the fields of a bad request', () => {
    const error = new ConnectError('invalid', Code.InvalidArgument, undefined, [
      {
        desc: BadRequestSchema,
        value: create(BadRequestSchema, { fieldViolations: [{ field: 'channel_id', description: 'must be a UUID' }] }),
      },
    ]);
    expect(explain(error, URL_HERE)).toBe('Refused: channel_id: must be a UUID.');
  });

  it('says that a stream has ended', () => {
    const detail = { desc: ErrorInfoSchema, value: { reason: 'STREAM_ENDED' } };
    expect(explain(new ConnectError('ended', Code.FailedPrecondition, undefined, [detail]), URL_HERE)).toMatch(
      /stream has ended/,
    );
  });

  it('prints no control characters and one line', () => {
    expect(explain(new ConnectError('a\n\u001b[2Jb', Code.Unauthenticated), URL_HERE)).toBe(
      'The token was refused: a \ufffd[2Jb.',
    );
  });
});
