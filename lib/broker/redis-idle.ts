import { Cluster, Command } from 'ioredis';
import type { BrokerUnavailableError, ChannelKey, EndedIdle } from './broker.ts';
import type { RedisClient } from './redis-client.ts';
import { allSettled, type RedisCommands, unavailable } from './redis-commands.ts';
import { ACTIVITY_SHARDS, activityKey, channelKeys } from './redis-keys.ts';

/** So many channels are asked about at once. */
const BATCH = 100;
const ONLY_SERVER = '';

/** The limits as the script takes them. */
type Limits = readonly number[];

/** What the index says of a channel. */
interface Candidate {
  readonly channel: ChannelKey;
  readonly score: string;
}

/** `active`: so recently that it is none of the candidates any more; `left`: it still is one. */
type Outcome = 'ended' | 'over' | 'active' | 'left';

/** {@link Broker.endIdle} on Redis, by the index of open channels. */
export async function endIdle(
  commands: RedisCommands,
  idleMs: number,
  limit: number,
  limits: Limits,
): Promise<EndedIdle> {
  const beforeMs = (await nowMs(commands)) - idleMs;
  return new IdleSearch(commands, { idleMs, beforeMs, limit, limits }).run();
}

/** Some server's: which candidates are idle is judged by the clock of the server that has their log. */
async function nowMs(commands: RedisCommands): Promise<number> {
  const [seconds, microseconds] = await commands.run((client) =>
    Promise.any((client instanceof Cluster ? client.nodes('master') : [client]).map((server) => server.time())),
  );
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}

interface IdleTask {
  readonly idleMs: number;
  readonly beforeMs: number;
  readonly limit: number;
  readonly limits: Limits;
}

/**
 * A server that failed once is asked nothing more in the same search: it costs the others one deadline, and not one for
 * each of its channels.
 */
class IdleSearch {
  readonly #commands: RedisCommands;
  readonly #task: IdleTask;
  readonly #answering = new Set<string>();
  readonly #failing = new Set<string>();
  readonly #ended: ChannelKey[] = [];
  #examined = 0;
  #asked = 0;
  #problem: BrokerUnavailableError | undefined;

  constructor(commands: RedisCommands, task: IdleTask) {
    this.#commands = commands;
    this.#task = task;
  }

  async run(): Promise<EndedIdle> {
    // Where it begins is left to chance, so that several callers with small limits don't look at the same channels.
    const start = Math.floor(Math.random() * ACTIVITY_SHARDS);
    for (let n = 0; n < ACTIVITY_SHARDS && this.#asked < this.#task.limit; n += 1) {
      await this.#goThrough(activityKey((start + n) % ACTIVITY_SHARDS));
    }
    const failed = [...this.#answering].every((server) => this.#failing.has(server));
    if (failed && this.#problem !== undefined) throw this.#problem;
    return { examined: this.#examined, ended: this.#ended, problem: this.#problem };
  }

  async #goThrough(index: string): Promise<void> {
    // What can't be decided stays where it is, and others may be behind it.
    for (let left = 0; ; ) {
      const room = this.#task.limit - this.#asked;
      const candidates = await this.#candidates(index, left, room);
      for (let at = 0; at < candidates.length; at += BATCH) {
        left += await this.#decide(index, candidates.slice(at, at + BATCH));
      }
      if (candidates.length < room || this.#asked >= this.#task.limit) return;
    }
  }

  async #candidates(index: string, offset: number, count: number): Promise<Candidate[]> {
    const [members] = await this.#ask<string[]>([index], async (client, _, answer) => {
      const { beforeMs } = this.#task;
      answer(await client.zrangebyscore(index, '-inf', beforeMs, 'WITHSCORES', 'LIMIT', offset, count));
    });
    const candidates: Candidate[] = [];
    for (let at = 0; members !== undefined && at + 1 < members.length; at += 2) {
      candidates.push({ channel: members[at] as ChannelKey, score: members[at + 1] ?? '' });
    }
    return candidates;
  }

  /** Answers how many of them are candidates as before. */
  async #decide(index: string, candidates: readonly Candidate[]): Promise<number> {
    const logs = candidates.map(({ channel }) => channelKeys(channel).log);
    const outcomes = await this.#ask<Outcome>(logs, async (client, n, answer) => {
      const candidate = candidates[n];
      if (candidate) await this.#endIfIdle(client, index, candidate, answer);
    });
    let left = 0;
    for (const [n, { channel }] of candidates.entries()) {
      const outcome = outcomes[n];
      if (outcome !== undefined) this.#asked += 1;
      if (outcome === undefined || outcome === 'left') left += 1;
      else this.#examined += 1;
      if (outcome === 'ended') this.#ended.push(channel);
    }
    return left;
  }

  /** Ends the channel, or corrects the index. */
  async #endIfIdle(
    client: RedisClient,
    index: string,
    { channel, score }: Candidate,
    answer: (outcome: Outcome) => void,
  ): Promise<void> {
    const { idleMs, beforeMs, limits } = this.#task;
    const { log, index: logIndex, seal, live } = channelKeys(channel);
    const [outcome, activeMs] = await client.tidewayEndIdle(log, logIndex, seal, live, idleMs, ...limits);
    if (outcome === 'active') {
      await client.zadd(index, 'GT', Number(activeMs), channel);
      return answer(Number(activeMs) > beforeMs ? 'active' : 'left');
    }
    // It has been ended, whatever becomes of the index: there it is found out another time.
    if (outcome === 'ended') answer(outcome);
    await client.tidewayForget(index, channel, score);
    answer(outcome);
  }

  /** Asks the servers of `keys` at once, each about its own. Undefined where there is no answer. */
  async #ask<T>(
    keys: readonly string[],
    send: (client: RedisClient, n: number, answer: (answer: T) => void) => Promise<void>,
  ): Promise<(T | undefined)[]> {
    const answers = new Array<T | undefined>(keys.length).fill(undefined);
    let servers: string[] | undefined;
    let open = true;
    const sendOne = async (client: RedisClient, server: string, n: number) => {
      if (answers[n] !== undefined || this.#failing.has(server)) return;
      await send(client, n, (answer) => {
        // What comes after the deadline comes too late.
        if (open) answers[n] = answer;
      });
    };
    try {
      await this.#commands.run((client) => {
        const asked = keys.map((key) => serverOf(client, key));
        servers = asked;
        return allSettled(asked.map((server, n) => sendOne(client, server, n)));
      });
    } catch (error) {
      if (servers === undefined) throw error;
      this.#problem ??= unavailable(error);
      for (const [n, server] of servers.entries()) if (answers[n] === undefined) this.#failing.add(server);
    }
    open = false;
    for (const [n, server] of (servers ?? []).entries()) if (answers[n] !== undefined) this.#answering.add(server);
    return answers;
  }
}

function serverOf(client: RedisClient, key: string): string {
  if (!(client instanceof Cluster)) return ONLY_SERVER;
  return client.slots[new Command('get', [key]).getSlot()]?.[0] ?? ONLY_SERVER;
}
