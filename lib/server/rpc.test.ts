import { Code, ConnectError, createClient, createRouterTransport } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { StreamService } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { StoreUnavailableError } from '#lib/sql/database-errors.ts';
import { Refusal } from './refusal.ts';
import { admit, refusalInterceptor } from './rpc.ts';

/** Calls a unary and a streaming method, and answers how each failed and what `onError` heard. */
async function calls({
  authenticate = () => ({}),
  act = () => ({}),
}: {
  authenticate?: () => object;
  act?: () => object;
}) {
  const heard: unknown[] = [];
  const onError = (error: unknown) => void heard.push(error);
  const callers = admit(authenticate);
  const transport = createRouterTransport(
    (router) =>
      router.service(
        StreamService,
        {
          startStream: act,
          async *subscribe() {
            yield act();
          },
        },
        { requestGate: callers.requestGate(onError) },
      ),
    { router: { interceptors: [refusalInterceptor(onError)] } },
  );
  const client = createClient(StreamService, transport);
  const listen = async () => {
    for await (const _ of client.subscribe({}));
  };
  const errors = [];
  for (const call of [() => client.startStream({}), listen]) {
    errors.push(
      await call().then(
        () => undefined,
        (error) => ConnectError.from(error),
      ),
    );
  }
  return { errors, heard };
}

const thrower = (error: unknown) => () => {
  throw error;
};

test.each(['authenticate', 'act'] as const)('a bug in %s is told to the log, and to nobody else', async (where) => {
  const bug = new Error('at 10.0.0.7, with the password');
  const { errors, heard } = await calls({ [where]: thrower(bug) });
  expect(heard).toEqual([bug, bug]);
  for (const error of errors) expect(error).toMatchObject({ code: Code.Internal, rawMessage: 'internal error' });
});

test.each(['authenticate', 'act'] as const)('a refusal of %s is answered as it is, and no error', async (where) => {
  const refused = await calls({ [where]: thrower(new Refusal('not_found')) });
  const away = await calls({ [where]: thrower(new StoreUnavailableError('at 10.0.0.7')) });
  for (const error of refused.errors) expect(error?.code).toBe(Code.NotFound);
  for (const error of away.errors) {
    expect(error).toMatchObject({ code: Code.Unavailable, rawMessage: 'The database is away' });
  }
  expect([...refused.heard, ...away.heard]).toEqual([]);
});

test('who is admitted is answered', async () => {
  expect(await calls({})).toEqual({ errors: [undefined, undefined], heard: [] });
});
