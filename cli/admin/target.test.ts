import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findAdminTarget } from './target.ts';

const dev = {
  edge_url: 'http://127.0.0.1:8080',
  org_id: 1,
  organization: 'development',
  project: 'default',
  api_token: 'dev-api',
  operator_token: 'dev-operator',
};
let dir = '';

beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'tideway-admin-'));
  await writeFile(path.join(dir, 'dev.json'), JSON.stringify(dev));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

test('development is found by itself', async () => {
  expect(await findAdminTarget({}, { TIDEWAY_DATA_DIR: dir })).toEqual({
    kind: 'found',
    target: { url: dev.edge_url, token: 'dev-operator', organization: 'development', project: 'default' },
  });
});

test('the environment and flags win', async () => {
  const env = { TIDEWAY_DATA_DIR: dir, TIDEWAY_API_TOKEN: 'mine', TIDEWAY_ORG_ID: '7' };
  const flags = { url: 'http://localhost:1/', project: 'app' };
  expect(await findAdminTarget(flags, env)).toEqual({
    kind: 'found',
    target: { url: 'http://localhost:1', token: 'mine', organization: '7', project: 'app' },
  });
});

test('a stranger gets no token of development', async () => {
  const found = await findAdminTarget({ url: 'https://example.com' }, { TIDEWAY_DATA_DIR: dir });
  expect(found).toEqual({ kind: 'unusable', why: 'No token: set TIDEWAY_API_TOKEN.' });
});

test('without an edge it says what to do', async () => {
  const found = await findAdminTarget({}, { TIDEWAY_DATA_DIR: path.join(dir, 'none') });
  expect(found).toMatchObject({ kind: 'unusable', why: expect.stringContaining('npm start') });
});
