import { describe, expect, test } from 'vitest';
import { sessionCookie } from './session-cookie.ts';

describe('the cookie of a session', () => {
  test('is for https alone in production, and for no other host of the domain', () => {
    const cookie = sessionCookie({ secure: true });
    expect(cookie.set('tws_x', 60.9)).toBe(
      '__Host-tideway_session=tws_x; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=60',
    );
    expect(cookie.clear()).toBe('__Host-tideway_session=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0');
  });

  test.for([
    ['tideway_session=tws_a', 'tws_a'],
    ['theme=dark; tideway_session=tws_a; tideway_session=tws_b', 'tws_a'],
    ['theme=dark;tideway_session= tws_a ', 'tws_a'],
    ['__Host-tideway_session=tws_a', undefined],
    ['not_tideway_session=tws_a', undefined],
    ['tideway_session', undefined],
    ['', undefined],
    [undefined, undefined],
  ] as const)('is read from %j as %j', ([header, expected]) => {
    const cookie = sessionCookie({ secure: false });
    expect(cookie.read(new Headers(header === undefined ? {} : { cookie: header }))).toBe(expected);
  });
});
