import { describe, expect, test } from 'vitest';
import { InvalidRedisUrlError, parseRedisUrl } from './redis-url.ts';

const PLAIN = { tls: false, username: undefined, password: undefined };

describe('parseRedisUrl', () => {
  test.each([
    ['redis://localhost', { kind: 'single', address: { host: 'localhost', port: 6379 }, db: 0, ...PLAIN }],
    ['redis://localhost:7000/3', { kind: 'single', address: { host: 'localhost', port: 7000 }, db: 3, ...PLAIN }],
    ['redis://[::1]:7000/', { kind: 'single', address: { host: '::1', port: 7000 }, db: 0, ...PLAIN }],
    ['REDIS://localhost?', { kind: 'single', address: { host: 'localhost', port: 6379 }, db: 0, ...PLAIN }],
    [
      'rediss://me:p%40ss%2Cw%2F%3A@h',
      { kind: 'single', address: { host: 'h', port: 6379 }, db: 0, tls: true, username: 'me', password: 'p@ss,w/:' },
    ],
    ['redis://:only@h', { kind: 'single', address: { host: 'h', port: 6379 }, db: 0, ...PLAIN, password: 'only' }],
    [
      'redis://a:1,b,[::1]:3',
      {
        kind: 'cluster',
        seeds: [
          { host: 'a', port: 1 },
          { host: 'b', port: 6379 },
          { host: '::1', port: 3 },
        ],
        ...PLAIN,
      },
    ],
    [
      'redis://:pw@a:1, redis://:pw@b:2',
      {
        kind: 'cluster',
        seeds: [
          { host: 'a', port: 1 },
          { host: 'b', port: 2 },
        ],
        ...PLAIN,
        password: 'pw',
      },
    ],
    ['rediss+cluster://a', { kind: 'cluster', seeds: [{ host: 'a', port: 6379 }], ...PLAIN, tls: true }],
    [
      'redis+sentinel://:pw@a,b:5/main/2',
      {
        kind: 'sentinel',
        sentinels: [
          { host: 'a', port: 26379 },
          { host: 'b', port: 5 },
        ],
        master: 'main',
        db: 2,
        ...PLAIN,
        password: 'pw',
      },
    ],
  ])('reads %s', (url, target) => {
    expect(parseRedisUrl(url)).toEqual(target);
  });

  test.each([
    'localhost:6379',
    'http://:secret@h',
    'redis://',
    'redis://:secret@',
    'redis://:secret@h:0',
    'redis://:secret@h:65536',
    'redis://:secret@h:port',
    'redis://:sec/ret@h',
    'redis://:secret@h/one',
    'redis://:secret@h/1/2',
    'redis://:secret@a,b/1',
    'redis://:secret@a,,b',
    'redis://:secret%zz@h',
    'redis://:secret@h?x=1',
    'rediss://:secret@h#insecure',
    'redis+sentinel://:secret@h',
    'redis+sentinel://:secret@h/main/x',
    'redis+cluster://:secret@h/1',
  ])('refuses %s in one line without the password', (url) => {
    let message = '';
    try {
      parseRedisUrl(url);
    } catch (error) {
      if (error instanceof InvalidRedisUrlError) message = error.message;
    }
    expect(message).toMatch(/^invalid Redis URL: .+$/);
    expect(message).not.toContain('sec');
  });
});
