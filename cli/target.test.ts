import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findTarget, parseUint64, type TargetEnv, type TargetFlags } from './target.ts';

const dev = { edge_url: 'http://127.0.0.1:8080', org_id: 1, publish_token: 'dev-publish', api_token: 'dev-api' };
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tideway-target-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function find(flags: TargetFlags = {}, env: TargetEnv = {}, content: unknown = dev) {
  if (content !== null) await writeFile(path.join(folder, 'dev.json'), JSON.stringify(content));
  return findTarget(flags, 'publish', { TIDEWAY_DATA_DIR: folder, ...env });
}

describe('findTarget', () => {
  it('takes what npm start wrote', async () => {
    expect(await find()).toEqual({
      kind: 'found',
      target: {
        url: 'http://127.0.0.1:8080',
        orgId: 1n,
        publishToken: 'dev-publish',
        streamToken: undefined,
        apiToken: 'dev-api',
      },
    });
  });

  it('prefers flags to the environment, and the environment to the file', async () => {
    const env = { TIDEWAY_URL: 'http://localhost:1', TIDEWAY_ORG_ID: '2', TIDEWAY_PUBLISH_TOKEN: 'of-env' };
    expect(await find({ url: 'http://localhost:3/', org: '4' }, env)).toMatchObject({
      target: { url: 'http://localhost:3', orgId: 4n, publishToken: 'of-env' },
    });
    expect(await find({}, env)).toMatchObject({ target: { url: 'http://localhost:1', orgId: 2n } });
  });

  it('prefers the token of the environment to the flag, which others can see', async () => {
    expect(await find({ token: 'of-flag' }, { TIDEWAY_PUBLISH_TOKEN: 'of-env' })).toMatchObject({
      target: { publishToken: 'of-env' },
    });
    expect(await find({ token: 'of-flag' })).toMatchObject({ target: { publishToken: 'of-flag' } });
  });

  it('keeps development tokens from strangers', async () => {
    expect(await find({ url: 'https://edge.example' })).toMatchObject({
      target: { publishToken: undefined, apiToken: undefined },
    });
    expect(await find({ url: 'http://127.0.0.1.edge.example:8080' })).toMatchObject({
      target: { publishToken: undefined },
    });
  });

  it.each([
    ['no file', null, {}, /is `npm start` running/],
    ['a broken file', { edge_url: 5 }, {}, /Start it again/],
    ['a bad URL', dev, { url: 'localhost:8080' }, /--url must look like/],
    ['a URL with a password', dev, { url: 'http://me:secret@localhost' }, /--url must look like/],
    ['a bad organization', dev, { org: 'acme' }, /--org must be a whole number/],
    ['organization 0', dev, { org: '0' }, /--org must be a whole number/],
  ])('says what is wrong with %s', async (_what, content, flags, why) => {
    const result = await find(flags, {}, content);
    expect(result).toMatchObject({ kind: 'unusable', why: expect.stringMatching(why) });
  });
});

describe('parseUint64', () => {
  it('takes what fits', () => {
    expect(parseUint64('18446744073709551615')).toBe(18446744073709551615n);
    expect(parseUint64('18446744073709551616')).toBeUndefined();
    expect(parseUint64('-1')).toBeUndefined();
    expect(parseUint64('')).toBeUndefined();
  });
});
