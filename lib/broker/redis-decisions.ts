import { createHash } from 'node:crypto';
import {
  DECISION_KINDS,
  type Decision,
  type DecisionKind,
  type Decisions,
  type DecisionWatcher,
  keepsFirst,
  type NewDecision,
  type Subject,
  type TokenKey,
} from './decisions.ts';
import { type RedisCommands, unavailable } from './redis-commands.ts';
import { DECISIONS_KEY, decisionKey, decisionToldKey, tokenCountKey } from './redis-keys.ts';

export const DEFAULT_POLL_INTERVAL_MS = 200;
const PAGE = 1000;
/**
 * Whoever was away for longer, or for more, looks for itself. Anybody with a token can fill it: at MAX_DETAIL_LENGTH it takes
 * 100 MB, with what StartStream's tokens may have at most a third of that, and mostly 3 MB.
 */
export const FEED_MAX_ENTRIES = 10_000;
const FEED_TTL_MS = 24 * 60 * 60 * 1000;
const FIRST_ID = '0-0';
/** More have a deadline of their own: a hundred channels of each of hundreds of tokens are not answered within one, however often. */
const FIND_AT_ONCE = 5_000;

// Keeps what counts, `<at ms> <detail>`, and answers it, and whether it is known to be in the feed. What is there already is
// remembered anew, and never for less than before. What has no time of its own (ARGV[5]) is the latest.
const DECIDE_SCRIPT = `
local known = redis.call('GET', KEYS[1])
local known_at = known and tonumber(string.match(known, '^%d+'))
local at = tonumber(ARGV[2])
if ARGV[5] == 'now' then
  local time = redis.call('TIME')
  at = math.max(at, time[1] * 1000 + math.floor(time[2] / 1000), known_at and known_at + 1 or 0)
end
if known and (ARGV[1] == 'first' or known_at >= at) then
  redis.call('PEXPIRE', KEYS[1], ARGV[4], 'GT')
  redis.call('PEXPIRE', KEYS[2], ARGV[4], 'GT')
  return {known, redis.call('GET', KEYS[2]) == redis.sha1hex(known) and 1 or 0}
end
local value = string.format('%.0f', at) .. ' ' .. ARGV[3]
redis.call('SET', KEYS[1], value, 'PX', ARGV[4])
return {value, 0}
`;

// Answers -1, or in how many ms it begins anew.
const COUNT_SCRIPT = `
local count = tonumber(redis.call('GET', KEYS[1]) or 0)
if count >= tonumber(ARGV[1]) then return math.max(0, redis.call('PTTL', KEYS[1])) end
if count == 0 then redis.call('SET', KEYS[1], 1, 'PX', ARGV[2]) else redis.call('INCR', KEYS[1]) end
return -1
`;

type FeedEntry = [id: string, fields: string[]];

/**
 * Decisions on Redis. Each has a key, which is what counts; and a place in the feed, one stream for all, by which processes
 * that watch learn of it: each asks a few times a second for what came after the last entry that it knows. That entry is
 * asked for, too. If it is there, so is everything after it; if it is not, the feed was trimmed or lost, and nobody knows
 * what else was in it.
 */
export class RedisDecisions implements Decisions {
  readonly #commands: RedisCommands;
  readonly #pollIntervalMs: number;
  readonly #watchers = new Set<DecisionWatcher>();
  #timer: NodeJS.Timeout | undefined;
  #polling = false;
  /** The last entry of the feed that is known; undefined until it was asked for. */
  #cursor: string | undefined;

  constructor(commands: RedisCommands, pollIntervalMs = DEFAULT_POLL_INTERVAL_MS) {
    this.#commands = commands;
    this.#pollIntervalMs = pollIntervalMs;
  }

  async make(decision: NewDecision, ttlMs: number): Promise<Decision> {
    const { kind, about, atMs, detail } = decision;
    const when = atMs === undefined ? 'now' : 'then';
    const keeps = keepsFirst(kind) ? 'first' : 'latest';
    const [key, toldKey] = [decisionKey(decision), decisionToldKey(decision)];
    // Redis takes whole ms alone.
    const forMs = Math.ceil(ttlMs);
    const reply = (await this.#commands.run((client) =>
      client.eval(DECIDE_SCRIPT, 2, key, toldKey, keeps, atMs ?? Date.now(), detail, forMs, when),
    )) as [value: string, isTold: number];
    const [value, isTold] = reply;
    const counts = parse(kind, about, value);
    if (counts === undefined) throw unavailable(new Error('a decision that is not ours'));
    // A repetition adds nothing, but for one of a decision whose telling failed, or may have.
    if (isTold === 1) return counts;
    // After the key: whoever watches and then finds nothing hears of it here.
    await this.#commands.run((client) =>
      Promise.all([
        client.xadd(DECISIONS_KEY, 'MAXLEN', '~', FEED_MAX_ENTRIES, '*', ...fieldsOf(counts)),
        client.pexpire(DECISIONS_KEY, FEED_TTL_MS),
      ]),
    );
    this.#tell(counts);
    // Of this value: meanwhile another may count, which is not told yet. Without the mark, it is told once more.
    const digest = createHash('sha1').update(value).digest('hex');
    await this.#commands.run((client) => client.set(toldKey, digest, 'PX', forMs)).catch(() => undefined);
    return counts;
  }

  async count(token: TokenKey, limit: number, ttlMs: number): Promise<number | undefined> {
    const leftMs = (await this.#commands.run((client) =>
      client.eval(COUNT_SCRIPT, 1, tokenCountKey(token), limit, Math.ceil(ttlMs)),
    )) as number;
    return leftMs < 0 ? undefined : leftMs;
  }

  async find(subjects: readonly Subject[]): Promise<(Decision | undefined)[]> {
    const found: (Decision | undefined)[] = [];
    for (let at = 0; at < subjects.length; at += FIND_AT_ONCE) {
      found.push(...(await this.#find(subjects.slice(at, at + FIND_AT_ONCE))));
    }
    return found;
  }

  async #find(subjects: readonly Subject[]): Promise<(Decision | undefined)[]> {
    const values = await this.#commands.run((client) =>
      Promise.all(subjects.map((subject) => client.get(decisionKey(subject)))),
    );
    return subjects.map(({ kind, about }, n) => parse(kind, about, values[n]));
  }

  watch(watcher: DecisionWatcher): () => void {
    this.#watchers.add(watcher);
    // The first reading of the feed makes everybody look.
    this.#timer ??= setInterval(() => void this.#poll(), this.#pollIntervalMs).unref();
    void this.#poll();
    return () => {
      this.#watchers.delete(watcher);
      if (this.#watchers.size === 0) this.close();
    };
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#cursor = undefined;
  }

  async #poll(): Promise<void> {
    if (this.#polling) return;
    this.#polling = true;
    try {
      if (this.#cursor === undefined) {
        const [last] = await this.#commands.run((client) => client.xrevrange(DECISIONS_KEY, '+', '-', 'COUNT', 1));
        this.#jump(last?.[0]);
        return;
      }
      for (let more = true; more && this.#timer !== undefined; ) more = await this.#readOn(this.#cursor);
    } catch {
      // The next turn asks again, from the same place.
    } finally {
      this.#polling = false;
    }
  }

  /** True if there may be more. */
  async #readOn(cursor: string): Promise<boolean> {
    const entries: FeedEntry[] = await this.#commands.run((client) =>
      client.xrange(DECISIONS_KEY, cursor === FIRST_ID ? '-' : cursor, '+', 'COUNT', PAGE),
    );
    if (cursor !== FIRST_ID && entries[0]?.[0] !== cursor) {
      const [last] = await this.#commands.run((client) => client.xrevrange(DECISIONS_KEY, '+', '-', 'COUNT', 1));
      this.#jump(last?.[0]);
      return false;
    }
    for (const [id, fields] of cursor === FIRST_ID ? entries : entries.slice(1)) {
      this.#cursor = id;
      const decision = decisionOf(fields);
      if (decision !== undefined) this.#tell(decision);
    }
    return entries.length === PAGE;
  }

  #jump(to: string | undefined): void {
    this.#cursor = to ?? FIRST_ID;
    for (const watcher of [...this.#watchers]) watcher.onDoubt();
  }

  #tell(decision: Decision): void {
    for (const watcher of [...this.#watchers]) watcher.onDecision(decision);
  }
}

function fieldsOf({ kind, about, atMs, detail }: Decision): string[] {
  return ['kind', kind, 'about', about, 'value', `${atMs} ${detail}`];
}

function decisionOf(fields: readonly string[]): Decision | undefined {
  const [, kind = '', , about = '', , value] = fields;
  return kind in DECISION_KINDS ? parse(kind as DecisionKind, about as Subject['about'], value) : undefined;
}

function parse(kind: DecisionKind, about: Subject['about'], value: unknown): Decision | undefined {
  if (typeof value !== 'string') return undefined;
  const space = value.indexOf(' ');
  const atMs = Number(value.slice(0, space));
  return space > 0 && Number.isSafeInteger(atMs) ? { kind, about, atMs, detail: value.slice(space + 1) } : undefined;
}
