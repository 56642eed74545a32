import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { WatchProjectConfigsResponse } from '#gen/tideway/config/v1/config_service_pb.ts';
import { openStoreUnderTest, PATIENCE_MS } from '#lib/config-cache/config-testing.ts';
import { asRelay, type ServiceUnderTest, startConfigService } from './config-testing.ts';

/** A relay that watches: its responses, one after the other. */
async function startWatch(service: ServiceUnderTest, since = '') {
  const stopped = new AbortController();
  onTestFinished(() => stopped.abort());
  const responses = service.client
    .watchProjectConfigs({ since }, { ...asRelay(), signal: stopped.signal })
    [Symbol.asyncIterator]();
  const next = async (): Promise<WatchProjectConfigsResponse> => {
    const { done, value } = await responses.next();
    if (done === true) throw new Error('the watch ended');
    return value;
  };
  return {
    next,
    stop: () => stopped.abort(),
    /** Reads on until a key is named. */
    async until(publicKey: string): Promise<WatchProjectConfigsResponse> {
      for (;;) {
        const response = await next();
        if (response.publicKeys.includes(publicKey)) return response;
      }
    },
  };
}

describe('watch', () => {
  test('says at once where it stands, then every change; what it names is changed here', async () => {
    const under = await openStoreUnderTest();
    const service = await startConfigService(under);
    const { project, publicKey } = await under.addProject('web');
    await service.cache.lookup([publicKey], PATIENCE_MS);
    const watches = await Promise.all(Array.from({ length: 20 }, () => startWatch(service)));
    for (const watch of watches) {
      const first = await watch.next();
      expect(first).toMatchObject({ publicKeys: [], reset: false });
      expect(first.cursor).not.toBe('');
    }
    await under.store.keys.update('system', project.id, publicKey, { state: 'disabled' });
    await Promise.all(
      watches.map(async (watch) => {
        const { cursor: seen } = await watch.until(publicKey);
        const request = { keys: [{ publicKey, revision: project.revision }], seen };
        const [answer] = (await service.client.getProjectConfigs(request, asRelay())).answers;
        expect(answer?.answer.case).toBe('disabled');
      }),
    );
  });

  test('goes on from a cursor, also after a restart, and where another process gave it', async () => {
    const under = await openStoreUnderTest();
    const service = await startConfigService(under);
    const { project, publicKey } = await under.addProject('web');
    const watch = await startWatch(service);
    const { cursor } = await watch.next();
    watch.stop();
    await under.store.keys.update('system', project.id, publicKey, { state: 'disabled' });
    const again = await startWatch(service, cursor);
    expect(await again.until(publicKey)).toMatchObject({ publicKeys: [publicKey], reset: false });

    await service.stop();
    await under.store.keys.update('system', project.id, publicKey, { state: 'active' });
    const restarted = await startConfigService(under);
    const third = await startWatch(restarted, cursor);
    expect(await third.until(publicKey)).toMatchObject({ reset: false });
  });

  test('a lookup elsewhere is never older than what the watch said', async () => {
    const under = await openStoreUnderTest();
    const watched = await startConfigService(under);
    const asked = await startConfigService(under);
    const { project, publicKey } = await under.addProject('web');
    const watch = await startWatch(watched);
    await watch.next();
    let revision = project.revision;
    for (let n = 0; n < 20; n += 1) {
      await asked.cache.lookup([publicKey], PATIENCE_MS);
      const changed = await under.store.projects.update('system', under.organization.id, project.id, {
        retentionDays: n + 1,
      });
      const { cursor: seen } = await watch.until(publicKey);
      const request = { keys: [{ publicKey, revision }], seen };
      const [answer] = (await asked.client.getProjectConfigs(request, asRelay())).answers;
      expect(answer?.answer).toMatchObject({ case: 'config', value: { revision: changed.revision } });
      revision = changed.revision;
    }
  });

  test('a cursor that nobody knows is a reset', async () => {
    const under = await openStoreUnderTest();
    const service = await startConfigService(under);
    const watch = await startWatch(service, 'no cursor of ours');
    expect(await watch.next()).toMatchObject({ publicKeys: [], reset: true });
  });

  test('without a token it is refused; when the service goes it says so', async () => {
    const under = await openStoreUnderTest();
    const service = await startConfigService(under);
    const refused = service.client.watchProjectConfigs({})[Symbol.asyncIterator]().next();
    await expect(refused).rejects.toMatchObject({ code: Code.Unauthenticated });
    const watch = await startWatch(service);
    await watch.next();
    const next = watch.next();
    const stopped = service.stop();
    await expect(next).rejects.toSatisfy((error) => ConnectError.from(error).code === Code.Unavailable);
    await stopped;
  });

  test('away: a watcher goes on when the store is back', async () => {
    const under = await openStoreUnderTest();
    const service = await startConfigService(under);
    const { project, publicKey } = await under.addProject('web');
    const watch = await startWatch(service);
    await watch.next();
    under.isAway = true;
    await under.store.keys.update('system', project.id, publicKey, { state: 'disabled' });
    expect(await service.cache.catchUp(PATIENCE_MS)).toBe(false);
    under.isAway = false;
    expect(await watch.until(publicKey)).toMatchObject({ reset: false });
  });
});
