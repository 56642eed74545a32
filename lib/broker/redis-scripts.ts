import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { ENTRY_OVERHEAD_BYTES, SEAL_OUTLIVES_LOG_MS } from './broker.ts';

/**
 * What runs inside Redis, each script in one atomic step on the keys of one channel (redis-keys.ts). The log is the
 * truth and the index is derived from it: `length of the log + bookkeeping fields = length of the index` holds after
 * every script, and where it doesn't (one of the keys was evicted, or restored without the other) the index is rebuilt.
 * Entries are flat lists, so that [4] is the key and [6] the data.
 */

// Four bookkeeping fields from the first append on, and `sealed` once the channel is.
const INDEX = `
local function window(field)
  if not field then return 0, 0 end
  local start, count = string.match(field, '^(%d+):(%d+)$')
  return tonumber(start), tonumber(count)
end

local function rebuild(log, index)
  redis.call('DEL', index)
  local last, bytes, sealed, from = '0-0', 0, false, '-'
  local part
  repeat
    part = redis.call('XRANGE', log, from, '+', 'COUNT', 100)
    for _, entry in ipairs(part) do
      local key = entry[2][4]
      redis.call('HSET', index, key, entry[1])
      last = entry[1]
      bytes = bytes + #entry[2][6] + ${ENTRY_OVERHEAD_BYTES}
      sealed = key == 'producer_lost' or string.match(key, '/(%d+)/') == '${Phase.END}'
    end
    from = '(' .. last
  until #part < 100
  if last ~= '0-0' then
    redis.call('HSET', index, 'last', last, 'bytes', bytes, 'unary', '0:0', 'stream', '0:0')
    if sealed then redis.call('HSET', index, 'sealed', last) end
  end
end

local function load(log, index, key, rate)
  local length = redis.call('XLEN', log)
  local found = redis.call('HMGET', index, key, 'last', 'bytes', 'sealed', rate)
  local fields = length == 0 and 0 or length + 4 + (found[4] and 1 or 0)
  if redis.call('HLEN', index) ~= fields then
    rebuild(log, index)
    found = redis.call('HMGET', index, key, 'last', 'bytes', 'sealed', rate)
  end
  return length, found
end
`;

// A publish removes no more than so many entries that only became too old: a burst's remains go step by step, where one
// long script would hold up every other channel of the server. What exceeds the bytes goes at once.
const MAX_AGED_OUT = 200;

const APPEND = `
local function append(keys, key, data, kind, length, last, bytes, rate, window, limits)
  local log, index = keys[1], keys[2]
  local id = redis.call('XADD', log, '*', 'prev', last, 'key', key, 'data', data)
  local ms = tonumber(string.match(id, '^%d+'))
  bytes = bytes + #data + ${ENTRY_OVERHEAD_BYTES}
  length = length + 1

  local removed, step = 0, 1
  local function mayGo(entry)
    if length < 2 then return false end
    if bytes > limits.maxBytes then return true end
    return length - 1 > limits.maxEntries and removed < ${MAX_AGED_OUT}
      and ms - tonumber(string.match(entry[1], '^%d+')) > limits.minAgeMs
  end
  local more = length - 1 > limits.maxEntries or bytes > limits.maxBytes
  while more do
    local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', step)
    local forget = {}
    more = #oldest > 0
    for _, entry in ipairs(oldest) do
      more = mayGo(entry)
      if not more then break end
      forget[#forget + 1] = entry[2][4]
      bytes = bytes - #entry[2][6] - ${ENTRY_OVERHEAD_BYTES}
      length = length - 1
      removed = removed + 1
    end
    if #forget > 0 then
      redis.call('XTRIM', log, 'MAXLEN', length)
      redis.call('HDEL', index, unpack(forget))
    end
    step = math.min(step * 2, 64)
  end

  if last == '0-0' then redis.call('HSET', index, 'unary', '0:0', 'stream', '0:0') end
  redis.call('HSET', index, key, id, 'last', id, 'bytes', bytes)
  if window then redis.call('HSET', index, rate, window) end
  local ttl = limits.idleTtlMs
  if kind ~= 'message' then
    ttl = limits.sealedTtlMs
    redis.call('HSET', index, 'sealed', id)
    redis.call('SET', keys[3], id, 'PX', ttl + ${SEAL_OUTLIVES_LOG_MS})
  end
  redis.call('PEXPIRE', log, ttl)
  redis.call('PEXPIRE', index, ttl)
  redis.call('SPUBLISH', keys[4], id .. ' ' .. last .. ' ' .. kind .. ' ' .. data)
  return id
end

local function limitsFrom(first)
  return {
    maxEntries = tonumber(ARGV[first]), minAgeMs = tonumber(ARGV[first + 1]), maxBytes = tonumber(ARGV[first + 2]),
    sealedTtlMs = tonumber(ARGV[first + 3]), idleTtlMs = tonumber(ARGV[first + 4])
  }
end

local function nowMs()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
`;

/**
 * KEYS log, index, seal, live; ARGV key, data, kind, rate name, rate per second, and the limits: max entries, min age,
 * max bytes, sealed TTL, idle TTL. The order of the steps is guarantee 3.
 */
export const PUBLISH_SCRIPT = `${INDEX}${APPEND}
local length, found = load(KEYS[1], KEYS[2], ARGV[1], ARGV[4])
if found[1] then return {'duplicate', found[1]} end

-- An open log says that its channel is not sealed; without a log only the seal knows.
local sealed = found[4] or (length == 0 and redis.call('GET', KEYS[3]))
if sealed then return {'sealed', sealed} end

local perSec = tonumber(ARGV[5])
local counted = false
if perSec > 0 then
  local now = nowMs()
  local start, count = window(found[5])
  if now < start or now >= start + 1000 then start, count = now, 0 end
  if count >= perSec then return {'rate_limited', start + 1000 - now} end
  counted = string.format('%d:%d', start, count + 1)
end

local last = found[2] or '0-0'
local bytes = tonumber(found[3] or 0)
return {'stored', append(KEYS, ARGV[1], ARGV[2], ARGV[3], length, last, bytes, ARGV[4], counted, limitsFrom(6))}
`;

/** KEYS log, index, seal; ARGV after (exclusive), limit. Answers the entries, the last id, and what sealed, or ''. */
export const READ_SCRIPT = `
local entries = {}
if tonumber(ARGV[2]) > 0 then
  entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])
end
local found = redis.call('HMGET', KEYS[2], 'last', 'sealed')
local last = '0-0'
if redis.call('EXISTS', KEYS[1]) == 1 then
  last = found[1] or redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1]
end
return {entries, last, redis.call('GET', KEYS[3]) or found[2] or ''}
`;

/** KEYS log, index, seal, live; ARGV idle ms, and the limits. Answers `ended`, `active` and since when, or `over`. */
export const END_IDLE_SCRIPT = `${INDEX}${APPEND}
local length, found = load(KEYS[1], KEYS[2], 'producer_lost', 'unary')
if length == 0 or found[4] then return {'over'} end
local activeMs = string.match(found[2], '^%d+')
if nowMs() - tonumber(activeMs) < tonumber(ARGV[1]) then return {'active', activeMs} end
append(KEYS, 'producer_lost', '', 'producer_lost', length, found[2], tonumber(found[3]), 'unary', false, limitsFrom(2))
return {'ended'}
`;

/** KEYS activity; ARGV channel, score. Removes the channel, unless a newer activity was reported meanwhile. */
export const FORGET_SCRIPT = `
if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then return redis.call('ZREM', KEYS[1], ARGV[1]) end
return 0
`;
