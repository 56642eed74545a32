import type { Result } from 'ioredis';
import type { RedisClient } from '#lib/broker/redis-client.ts';

/**
 * Counts requests of one organization, in order, in one atomic step. KEYS: counters, each with its refunds after it. ARGV:
 * how many counters; in how many seconds each expires; then of each request its quantity, 1 where it may cross a limit, how many quotas it
 * is about, and of each the number of its counter and its limit (-1: none). Answers for each request which of its quotas
 * refused it.
 */
const TAKE = `
local counters = tonumber(ARGV[1])
local consumed, added, isNew = {}, {}, {}
for i = 1, counters do
  local count = redis.call('GET', KEYS[2 * i - 1])
  isNew[i] = not count
  consumed[i] = (tonumber(count or 0) or 0) - (tonumber(redis.call('GET', KEYS[2 * i]) or 0) or 0)
  added[i] = 0
end
local answers = {}
local at = 2 + counters
while at <= #ARGV do
  local quantity = tonumber(ARGV[at])
  local asksOnlyForRoom = quantity == 0 or ARGV[at + 1] == '1'
  local quotas = tonumber(ARGV[at + 2])
  local refused = {}
  for n = 1, quotas do
    local i = tonumber(ARGV[at + 1 + 2 * n])
    local limit = tonumber(ARGV[at + 2 + 2 * n])
    if limit >= 0 then
      local isOver = consumed[i] + quantity > limit
      if asksOnlyForRoom then isOver = consumed[i] >= limit end
      if isOver then refused[#refused + 1] = n end
    end
  end
  if #refused == 0 then
    for n = 1, quotas do
      local i = tonumber(ARGV[at + 1 + 2 * n])
      consumed[i] = consumed[i] + quantity
      added[i] = added[i] + quantity
    end
  end
  answers[#answers + 1] = refused
  at = at + 3 + 2 * quotas
end
for i = 1, counters do
  if added[i] > 0 then
    redis.call('INCRBY', KEYS[2 * i - 1], string.format('%.0f', added[i]))
    if isNew[i] then redis.call('EXPIRE', KEYS[2 * i - 1], ARGV[1 + i]) end
  end
end
return answers
`;

declare module 'ioredis' {
  interface RedisCommander<Context> {
    /** The number of keys first. */
    tidewayTake(...args: (string | number)[]): Result<number[][], Context>;
  }
}

export function defineLimitsScript(client: RedisClient): void {
  client.defineCommand('tidewayTake', { lua: TAKE });
}
