import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code, createClient, createRouterTransport } from '@connectrpc/connect';
import { expect, onTestFinished, test } from 'vitest';
import { AccountService } from '#gen/tideway/control/v1/account_service_pb.ts';
import { Gate } from '#lib/server/gate.ts';
import { refusalInterceptor } from '#lib/server/rpc.ts';
import { openDatabase } from '#lib/store/open-store.ts';
import { createStore } from '#lib/store/sql-store.ts';
import { accountParts } from './accounts.ts';

const CLIENT = { 'x-forwarded-for': '203.0.113.9' };

async function accountsAt(publicUrl: string) {
  const dataDir = await mkdtemp(join(tmpdir(), 'tideway-accounts-'));
  const database = await openDatabase({ dataDir });
  const store = createStore(database);
  const { callers, service } = accountParts(database, store, {
    signUp: 'open',
    oidc: undefined,
    publicUrl,
    secureCookies: true,
    trustedHops: 0,
    redis: undefined,
    sessionLimits: { idleMs: 60_000, maxAgeMs: 60_000 },
  });
  const { rpc, close } = service(new Gate({ callers: [callers] }));
  onTestFinished(async () => {
    await close?.();
    await store.close();
    await rm(dataDir, { recursive: true, force: true });
  });
  const onError = (error: unknown) => {
    throw error;
  };
  const transport = createRouterTransport((router) => rpc(router, onError), {
    router: { interceptors: [refusalInterceptor(onError)] },
  });
  return createClient(AccountService, transport);
}

// As browsers do that say no more, and all of them to plain http.
test.for([
  ['https://edge.example', 'https://edge.example'],
  ['https://edge.example/tideway', 'https://edge.example'],
  ['https://Edge.example:443', 'https://edge.example'],
])('at %s a page of %s is one of ours, and no other', async ([publicUrl, origin]) => {
  const client = await accountsAt(publicUrl ?? '');
  const ann = { email: 'ann@example.com', password: 'correct horse battery' };
  let cookie = '';
  const from = (page: string | undefined) => ({ headers: { ...CLIENT, cookie, origin: page ?? '' } });
  await client.signUp({ ...ann, name: 'Ann' }, from(origin));
  const onHeader = (headers: Headers) => {
    cookie = headers.get('set-cookie')?.split(';')[0] ?? '';
  };
  await client.signIn(ann, { ...from(origin), onHeader });
  expect(await client.getSession({}, from(origin))).toMatchObject({ session: { email: ann.email } });
  for (const page of ['https://other.example', 'http://edge.example', 'https://edge.example:8443', 'null']) {
    await expect(client.getSession({}, from(page))).rejects.toMatchObject({ code: Code.Unauthenticated });
    await expect(client.signIn(ann, from(page))).rejects.toMatchObject({ code: Code.PermissionDenied });
  }
});
