import { describe, expect, test } from 'vitest';
import { readAuth } from './auth.ts';
import { parseDsn } from './auth-dsn.ts';
import { relayTokens } from './auth-relay-tokens.ts';
import { EnvelopeRefusal } from './envelope-refusal.ts';

const KEY = '0123456789abcdef0123456789abcdef';
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

function statusOf(act: () => unknown): number | undefined {
  try {
    act();
  } catch (error) {
    if (error instanceof EnvelopeRefusal) return error.status;
    throw error;
  }
  return undefined;
}

describe('who a request is from', () => {
  test.each([
    ['X-Sentry-Auth', { 'x-sentry-auth': `Sentry sentry_key=${KEY},sentry_client=a/1` }, '', 'a/1'],
    ['Authorization: Sentry', { authorization: `Sentry sentry_key=${KEY}, sentry_client=a/1` }, '', 'a/1'],
    ['any case and order', { authorization: `sEnTrY sentry_client = a/1 ,x=y, ,, sentry_key = ${KEY} ` }, '', 'a/1'],
    ['versions', { 'x-sentry-auth': `Sentry sentry_version=2.0,sentry_key=${KEY}` }, '', undefined],
    [
      'what is ignored',
      { 'x-sentry-auth': `Sentry sentry_secret=x,sentry_timestamp=1,sentry_key=${KEY}` },
      '',
      undefined,
    ],
    ['flags of keys', { 'x-sentry-auth': `Sentry sentry_key=${KEY}.no-cache` }, '', undefined],
    ['capitals', { 'x-sentry-auth': `Sentry sentry_key=${KEY.toUpperCase()}` }, '', undefined],
    ['Authorization: Basic', { authorization: basic(`${KEY}:`) }, '', undefined],
    ['Basic without a password', { authorization: basic(KEY) }, '', undefined],
    ['the query', {}, `a=b&sentry_version=7&sentry_client=a%2F1&sentry_key=${KEY}`, 'a/1'],
    ['a header beside what is no key', { 'x-sentry-auth': `Sentry sentry_key=${KEY}` }, 'sentry_data=x', undefined],
    [
      "a header beside somebody else's",
      { 'x-sentry-auth': `Sentry sentry_key=${KEY}`, authorization: 'Bearer x' },
      '',
      undefined,
    ],
  ])('%s', (_, headers, query, client) => {
    expect(readAuth(headers, query)).toEqual({ publicKey: KEY, client });
  });

  test.each([
    ['nothing', {}, ''],
    ['a query of others', {}, 'key=x'],
    ['a scheme of others', { authorization: 'Bearer x' }, ''],
  ])('%s says nothing', (_, headers, query) => expect(readAuth(headers, query)).toBeUndefined());

  const header = `Sentry sentry_key=${KEY}`;
  test.each([
    [401, 'two headers', { 'x-sentry-auth': header, authorization: header }, ''],
    [401, 'a header and Basic', { 'x-sentry-auth': header, authorization: basic(KEY) }, ''],
    [401, 'a header and a query', { 'x-sentry-auth': header }, `sentry_key=${KEY}`],
    [401, 'Authorization and a query', { authorization: header }, `sentry_key=${KEY}`],
    [401, 'a header twice', { 'x-sentry-auth': `${header}, ${header}` }, ''],
    [401, 'two keys', { 'x-sentry-auth': `${header}, sentry_key=${KEY}` }, ''],
    [401, 'no scheme', { 'x-sentry-auth': `sentry_key=${KEY}` }, ''],
    [401, 'no key', { 'x-sentry-auth': 'Sentry sentry_version=7' }, ''],
    [401, 'an empty key', { 'x-sentry-auth': 'Sentry sentry_key=' }, ''],
    [401, 'an empty user', { authorization: basic(':x') }, ''],
    [401, 'a query without a key', {}, 'sentry_version=7'],
    [400, 'a short key', { 'x-sentry-auth': 'Sentry sentry_key=abc' }, ''],
    [400, 'a key of other characters', {}, `sentry_key=${'x'.repeat(32)}`],
    [400, 'a long key', {}, `sentry_key=${KEY}0`],
    [400, 'a malformed flag', {}, `sentry_key=${KEY}.`],
    [400, 'another user', { authorization: basic('admin:x') }, ''],
    [400, 'a later version', { 'x-sentry-auth': `${header}, sentry_version=8` }, ''],
    [400, 'no version', { 'x-sentry-auth': `${header}, sentry_version=x` }, ''],
  ])('%i: %s', (status, _, headers, query) => {
    expect(statusOf(() => readAuth(headers, query))).toBe(status);
  });
});

describe('DSNs', () => {
  test.each([
    [`https://${KEY}@host/42`, 42n],
    [`https://${KEY}@host/42/`, 42n],
    [`http://${KEY}:secret@host:9000/path/to/42`, 42n],
    [`https://${KEY.toUpperCase()}@[::1]:80/1`, 1n],
  ])('%s', (text, projectId) => expect(parseDsn(text)).toEqual({ publicKey: KEY, projectId }));

  test.each([
    '',
    'x',
    `${KEY}@host/42`,
    `://${KEY}@host/42`,
    `https://${KEY}@host`,
    `https://${KEY}@host/`,
    `https://${KEY}@host/project`,
    `https://${KEY}@/42`,
    'https://host/42',
    'https://abc@host/42',
    `https://${KEY}@host/${'a/'.repeat(2000)}42`,
  ])('%j is none', (text) => expect(statusOf(() => parseDsn(text))).toBe(400));
});

test('relays are known by their tokens', () => {
  const isRelay = relayTokens(['first-token', 'second-token']);
  expect(['Bearer first-token', 'Bearer second-token', 'Bearer third-token'].map(isRelay)).toEqual([true, true, false]);
  expect(() => isRelay('Basic first-token')).toThrow('Invalid authorization format');
  expect(relayTokens([])('Bearer first-token')).toBe(false);
});
