import { Cluster } from 'ioredis';
import { BrokerUnavailableError } from './broker.ts';
import type { RedisClient, ScriptArguments } from './redis-client.ts';
import { KEYS_OF_A_CHANNEL } from './redis-publish-arguments.ts';
import { type CalledScript, isUnknownScript } from './redis-script-call.ts';

/** Of the time that a publish has: a server without its replicas must not use up that of those behind it. */
const WAIT_SHARE = 4;

/**
 * Publishes, and answers only once so many replicas have it: script and WAIT go to the same connection in one write.
 *
 * On another connection WAIT would speak of another server, after a failover, which knows nothing of what was published
 * to this one. It is asked for duplicates too: the first attempt may not be replicated yet, and WAIT means everything
 * that its server had when the command before it was done.
 * @throws BrokerUnavailableError if it is stored and not known to be replicated
 */
export async function publishReplicated(
  client: RedisClient,
  script: CalledScript,
  sent: ScriptArguments,
  replicas: number,
  timeoutMs: number,
): Promise<string> {
  const waitMs = Math.max(1, Math.floor(timeoutMs / WAIT_SHARE));
  // By hand: what the client does where the script is not known sends it again behind the WAIT, which is of no use then.
  const send = (command: 'evalsha' | 'eval', named: string) => {
    // The client would keep it until there is a connection: for as long as Sentinels are away.
    if (client.status !== 'ready') throw new BrokerUnavailableError('Redis is not connected');
    return client
      .pipeline()
      [command](named, KEYS_OF_A_CHANNEL, ...sent)
      .wait(replicas, waitMs)
      .exec();
  };
  let results = await send('evalsha', script.sha);
  if (isUnknownScript(results?.[0]?.[0])) results = await send('eval', script.lua);
  const [published, waited] = results ?? [];
  const problem = published?.[0] ?? waited?.[0];
  if (problem) {
    // Pipelines are not redirected: the next attempt has to know the slots.
    if (client instanceof Cluster && /^(?:MOVED|ASK) /.test(problem.message)) client.refreshSlotsCache();
    throw problem;
  }
  if (Number(waited?.[1] ?? 0) < replicas) throw new BrokerUnavailableError(`not ${replicas} replicas have it yet`);
  return published?.[1] as string;
}
