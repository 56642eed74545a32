import type { Result } from 'ioredis';
import type { RedisClient } from '#lib/broker/redis-client.ts';

/**
 * What runs inside Redis, each in one atomic step on the keys of one shard (redis-config-keys.ts), and holds what
 * shared-configs.ts promises. KEYS[1] is the state.
 */

// ARGV: generation, mark, lease, its ms. Answers nothing where generation or mark differ; else, for each key: its value,
// '' where the lease was taken, or nothing where another has it.
const READ = `
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] or redis.call('GET', KEYS[2]) ~= ARGV[2] then return false end
local answers = {}
for i = 3, #KEYS do
  local value = redis.call('GET', KEYS[i])
  if value and string.sub(value, 1, #ARGV[1] + 1) == ARGV[1] .. ' ' then
    local isLease = string.sub(value, #ARGV[1] + 2, #ARGV[1] + 7) == 'lease '
    answers[i - 2] = not isLease and value
  else
    redis.call('SET', KEYS[i], ARGV[1] .. ' lease ' .. ARGV[3], 'PX', ARGV[4])
    answers[i - 2] = ''
  end
end
return answers
`;

// KEYS: entries. ARGV: for each the lease's value, the new value, its ms.
const WRITE = `
for i = 1, #KEYS do
  if redis.call('GET', KEYS[i]) == ARGV[3 * i - 2] then
    redis.call('SET', KEYS[i], ARGV[3 * i - 1], 'PX', ARGV[3 * i])
  end
end
return 1
`;

// ARGV: generation, the mark there must be ('': any), the new mark, its ms, the cursor.
const REMOVE = `
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then return 0 end
if ARGV[2] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
for i = 3, #KEYS do redis.call('DEL', KEYS[i]) end
redis.call('HSET', KEYS[1], 'cursor', ARGV[5])
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
return 1
`;

// ARGV: a generation and a cursor for a shard that has none. Answers those it has.
const JOIN = `
if redis.call('HEXISTS', KEYS[1], 'generation') == 0 or redis.call('HEXISTS', KEYS[1], 'cursor') == 0 then
  redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'cursor', ARGV[2])
end
return redis.call('HMGET', KEYS[1], 'generation', 'cursor')
`;

// ARGV: the generation there must be, the new one, its cursor, the mark, its ms.
const RENEW = `
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'generation', ARGV[2], 'cursor', ARGV[3])
redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5])
return 1
`;

type ScriptArguments = (string | number | Buffer)[];

declare module 'ioredis' {
  interface RedisCommander<Context> {
    tidewayConfigReadBuffer(...args: ScriptArguments): Result<(Buffer | null)[] | null, Context>;
    tidewayConfigWrite(...args: ScriptArguments): Result<number, Context>;
    tidewayConfigRemove(...args: ScriptArguments): Result<number, Context>;
    tidewayConfigJoin(...args: ScriptArguments): Result<[generation: string, cursor: string], Context>;
    tidewayConfigRenew(...args: ScriptArguments): Result<number, Context>;
  }
}

/** All but the last two take the number of their keys first. */
export function defineConfigScripts(client: RedisClient): void {
  client.defineCommand('tidewayConfigRead', { lua: READ });
  client.defineCommand('tidewayConfigWrite', { lua: WRITE });
  client.defineCommand('tidewayConfigRemove', { lua: REMOVE });
  client.defineCommand('tidewayConfigJoin', { lua: JOIN, numberOfKeys: 1 });
  client.defineCommand('tidewayConfigRenew', { lua: RENEW, numberOfKeys: 2 });
}
