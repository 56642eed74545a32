import { expect, test } from 'vitest';
import { accessLogFields } from './access-log.ts';

// Whatever names a path, a header or a cookie could carry a token. These don't.
const harmless = new Set(['%REQ(:METHOD)%', '%REQ(X-REQUEST-ID)%', '%PATH(NQ:ORIG_OR_PATH)%']);

test('the access log writes no query, and of the headers only those that carry no token', () => {
  const operators = Object.values(accessLogFields).flatMap((field) => field.match(/%[^%]*%/g) ?? []);
  const risky = operators.filter((operator) =>
    /REQ|PATH|URI|QUERY|COOKIE|RESP\(|METADATA|FILTER_STATE/i.test(operator),
  );
  const allowed = risky.filter((operator) => harmless.has(operator) || operator === '%UPSTREAM_REQUEST_ATTEMPT_COUNT%');
  expect(allowed.length).toBeGreaterThan(0);
  expect(risky).toEqual(allowed);
});
