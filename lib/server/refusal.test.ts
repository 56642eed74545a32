import { Code } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '#gen/google/rpc/error_details_pb.ts';
import { invalidFields, REFUSALS, Refusal, toConnectError } from './refusal.ts';
import { toStatus } from './rpc-status.ts';

test('every reason has an RPC code, a status and a text of its own', () => {
  for (const [reason, { code, status, text }] of Object.entries(REFUSALS)) {
    expect(Code[code], reason).toBeDefined();
    expect(status, reason).toBeGreaterThanOrEqual(400);
    expect(text, reason).not.toMatch(/[\r\n]/);
  }
});

test('what is worth repeating says when, to both kinds of callers', () => {
  const refusal = new Refusal('rate_limited', { retryAfterMs: 1250.5 });
  expect(refusal).toMatchObject({ status: 429, code: Code.ResourceExhausted, retryAfterSec: 2 });
  // A fraction of a ms comes of clocks, and must not make an answer that can't be encoded.
  const status = toStatus(refusal);
  const error = toConnectError(refusal);
  expect(error.metadata.get('retry-after')).toBe('2');
  expect(status.details.map(({ typeUrl }) => typeUrl)).toEqual([
    'type.googleapis.com/google.rpc.QuotaFailure',
    'type.googleapis.com/google.rpc.RetryInfo',
    'type.googleapis.com/google.rpc.ErrorInfo',
  ]);
  const [, retry] = error.details;
  expect(retry).toMatchObject({ desc: RetryInfoSchema, value: { retryDelay: { seconds: 1n, nanos: 250_500_000 } } });
});

test('wrong fields are all named', () => {
  const refusal = invalidFields([
    { field: 'phase', description: 'is missing' },
    { field: 'org_id', description: 'must be greater than 0' },
  ]);
  expect(refusal.message).toBe('phase: is missing; org_id: must be greater than 0');
  const [fields, info] = toConnectError(refusal).details;
  expect(fields).toMatchObject({ desc: BadRequestSchema, value: { fieldViolations: refusal.violations } });
  expect(info).toMatchObject({ desc: ErrorInfoSchema, value: { reason: 'INVALID_ARGUMENT', domain: 'tideway' } });
});
