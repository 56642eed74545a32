import { describe, expect, test } from 'vitest';
import { parseAdminOptions } from './options.ts';
import { jsonOf } from './render.ts';
import { RequestError, type RequestParts, requestOf } from './request.ts';

const NOW_MS = Date.UTC(2030, 0, 1);

function requestFor(args: readonly string[], more: Partial<RequestParts> = {}) {
  const parsed = parseAdminOptions(args);
  if (parsed.kind !== 'options') throw new Error(`${args.join(' ')} is ${parsed.kind}`);
  const { command, name, flags } = parsed.options;
  const parts = { name, flags, organization: 'acme', project: 'app', nowMs: NOW_MS, ...more };
  return jsonOf(command.method.input, requestOf(command, parts));
}

describe('what a person says becomes a request', () => {
  test('a list', () => {
    expect(requestFor(['projects', 'list', '--page-size', '5', '--page-token', 'x'])).toEqual({
      organization: 'acme',
      page_size: 5,
      page_token: 'x',
    });
  });

  test('a name is the path’s, over what is meant otherwise', () => {
    expect(requestFor(['projects', 'get', 'other'])).toEqual({ organization: 'acme', project: 'other' });
    expect(requestFor(['organizations', 'get', 'beta'])).toEqual({ organization: 'beta' });
    expect(requestFor(['keys', 'get', 'abc'])).toEqual({ organization: 'acme', project: 'app', key: 'abc' });
  });

  test('flags that may be repeated', () => {
    const args = ['tokens', 'create', '--name', 'ci', '--scope', 'projects:read', '--scope', 'events:read'];
    expect(requestFor([...args, '--expires-in-days', '2'])).toMatchObject({
      create: {
        name: 'ci',
        scopes: ['projects:read', 'events:read'],
        expire_time: '2030-01-03T00:00:00Z',
      },
    });
  });

  test('a state', () => {
    expect(requestFor(['keys', 'disable', 'abc', '--etag', 'v1'])).toMatchObject({
      key: 'abc',
      update: { state: 'STATE_DISABLED', etag: 'v1' },
    });
  });

  test('a limit that is cleared is named, with what is set beside it', () => {
    expect(requestFor(['keys', 'update', 'abc', '--rate-limit', 'none', '--name', 'x', '--etag', 'v1'])).toMatchObject({
      update: { name: 'x', etag: 'v1' },
      update_mask: 'name,rateLimit',
    });
  });

  test('fields without a flag, and a mask', () => {
    const args = ['projects', 'update', 'app', '--body', '{"filters":{"localhost":true}}'];
    expect(requestFor([...args, '--mask', 'filters.web_crawlers,filters.localhost'])).toMatchObject({
      update: { filters: { localhost: true } },
      update_mask: 'filters.webCrawlers,filters.localhost',
    });
  });
});

describe('what can be no request', () => {
  test.each([
    [['projects', 'list'], { organization: undefined }, 'No organization: add --org.'],
    [['keys', 'list'], { project: undefined }, 'No project: add --project.'],
    [['keys', 'update', 'a', '--rate-limit', '5'], {}, '--rate-limit must look like 5/60s, or be none.'],
    [['projects', 'list', '--page-size', 'many'], {}, '--page-size must be a whole number.'],
    [['invitations', 'create', '--role', 'boss'], {}, '--role must be member, admin or owner.'],
    [['projects', 'create', '--body', '{'], {}, '--body must be JSON.'],
    [['projects', 'create', '--body', '[]'], {}, '--body must be a JSON object.'],
    [['projects', 'create', '--body', '{"nope":1}'], {}, 'key "nope" is unknown.'],
  ])('%j', (args, more, why) => {
    expect(() => requestFor(args, more)).toThrow(new RequestError(why));
  });
});
