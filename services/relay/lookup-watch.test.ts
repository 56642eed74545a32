import { Code, ConnectError, createClient, createRouterTransport, type Transport } from '@connectrpc/connect';
import { expect, onTestFinished, test } from 'vitest';
import { ConfigService } from '#gen/tideway/config/v1/config_service_pb.ts';
import { Refusal } from '#lib/server/refusal.ts';
import { refusalInterceptor } from '#lib/server/rpc.ts';
import { until } from '../../test/support/until.ts';
import { LookupWatch, type LookupWatchOptions } from './lookup-watch.ts';

interface Watching extends Pick<LookupWatchOptions, 'onError' | 'silenceMs'> {
  readonly transport: Transport;
}

/** Until the test is over. */
function watch({ transport, ...options }: Watching): void {
  const client = createClient(ConfigService, transport);
  const headers = { Authorization: 'Bearer token' };
  const watching = new LookupWatch({ client, headers, onChange() {}, onReset() {}, ...options });
  onTestFinished(() => watching.stop());
}

test('a watch that goes silent is begun again', async () => {
  const sinces: string[] = [];
  const transport = createRouterTransport((router) => {
    router.service(ConfigService, {
      async *watchProjectConfigs({ since }, { signal }) {
        sinces.push(since);
        yield { cursor: `c${sinces.length}` };
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      },
    });
  });
  const errors: unknown[] = [];
  watch({ transport, onError: (error) => errors.push(error), silenceMs: 100 });
  await until('it has begun three times', () => sinces.length === 3);
  expect(sinces).toEqual(['', 'c1', 'c2']);
  expect(errors.length).toBeGreaterThanOrEqual(2);
});

test('a service that drains is gone back to, without a word', async () => {
  let calls = 0;
  const transport = createRouterTransport(
    (router) => {
      router.service(ConfigService, {
        async *watchProjectConfigs() {
          calls += 1;
          yield { cursor: `c${calls}` };
          throw calls < 3 ? new Refusal('draining') : new Refusal('broker_away');
        },
      });
    },
    { router: { interceptors: [refusalInterceptor(() => undefined)] } },
  );
  const errors: unknown[] = [];
  watch({ transport, onError: (error) => errors.push([calls, ConnectError.from(error).code]) });
  await until('it is told that there is another reason', () => errors.length > 0);
  expect(errors[0]).toEqual([3, Code.Unavailable]);
});
