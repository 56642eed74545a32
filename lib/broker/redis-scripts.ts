import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { ENTRY_OVERHEAD_BYTES, SEAL_OUTLIVES_LOG_MS } from './broker.ts';
import { KEEP_SNAPSHOT, READ_SNAPSHOT } from './redis-snapshot-scripts.ts';

/**
 * What runs inside Redis, each script in one atomic step on the keys of one channel (redis-keys.ts). The log is the
 * truth and the index is derived from it: `length of the log + bookkeeping fields = length of the index` holds after
 * every script, and where it doesn't (one of the keys was evicted, or restored without the other) the index is rebuilt.
 * Entries are flat lists, so that [4] is the key, [6] the data, and [8] the window of a text delta that may be joined.
 */

// Four bookkeeping fields from the first append on, and `sealed` once the channel is.
const INDEX = `${KEEP_SNAPSHOT}
local function window(field)
  if not field then return 0, 0 end
  local start, count = string.match(field, '^(%d+):(%d+)$')
  return tonumber(start), tonumber(count)
end

local function rebuild(log, index)
  redis.call('DEL', index)
  openSnapshot(log).giveUp()
  local last, bytes, sealed, from = '0-0', 0, false, '-'
  local coalesce
  local part
  repeat
    part = redis.call('XRANGE', log, from, '+', 'COUNT', 100)
    for _, entry in ipairs(part) do
      local key = entry[2][4]
      redis.call('HSET', index, key, entry[1])
      last = entry[1]
      bytes = bytes + #entry[2][6] + ${ENTRY_OVERHEAD_BYTES}
      coalesce = entry[2][8] or coalesce
      sealed = key == 'producer_lost' or string.match(key, '/(%d+)/') == '${Phase.END}'
    end
    from = '(' .. last
  until #part < 100
  if last ~= '0-0' then
    if coalesce then bytes = bytes .. ' ' .. coalesce end
    redis.call('HSET', index, 'last', last, 'bytes', bytes, 'unary', '0:0', 'stream', '0:0')
    if sealed then redis.call('HSET', index, 'sealed', last) end
    -- What it is rebuilt for may store nothing, and so renew no TTL: without one it would outlive its log for ever.
    local expires = redis.call('PEXPIRETIME', log)
    if expires > 0 then redis.call('PEXPIREAT', index, expires) end
  end
end

-- Once for a step, however many keys it asks for. Answers the length and: last, bytes, sealed, rate window, ids of keys.
local function load(log, index, rate, keys)
  local length = redis.call('XLEN', log)
  local found = redis.call('HMGET', index, 'last', 'bytes', 'sealed', rate, unpack(keys))
  local fields = length == 0 and 0 or length + 4 + (found[3] and 1 or 0)
  if redis.call('HLEN', index) ~= fields then
    rebuild(log, index)
    found = redis.call('HMGET', index, 'last', 'bytes', 'sealed', rate, unpack(keys))
  end
  return length, found
end
`;

// A publish removes no more than so many entries that only became too old: a burst's remains go step by step, where one
// long script would hold up every other channel of the server. What exceeds the bytes goes at once.
const MAX_AGED_OUT = 200;

function byte(letter: string): number {
  return letter.charCodeAt(0);
}

const APPEND = `
local clock
local function nowMs()
  clock = clock or redis.call('TIME')
  return tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
end

-- The id of an entry behind 'last'. A failover may lead to a server that has less of a log, and whose clock is behind: what it
-- takes must not get the ids of what was lost, which listeners have as cursors. The microseconds tell them apart; where the
-- clock is not beyond 'last', those of the whole second.
local function idAfter(last)
  local ms, n = string.match(last, '^(%d+)-(%d+)$')
  local now, us = nowMs(), tonumber(clock[2])
  if now > tonumber(ms) then return string.format('%d-%d', now, us % 1000) end
  return string.format('%s-%d', ms, n + 1 + us)
end

-- A step: what is known of the log, and what is to be written to the index at its end.
local function begin(log, length, found)
  local step = { length = length, last = found[1] or '0-0', bytes = tonumber(found[2] or 0), fields = {}, seals = false }
  if not step.bytes then
    local bytes, state = string.match(found[2], '^(%d+) (.*)$')
    step.bytes, step.snapshot = tonumber(bytes), openSnapshot(log, state)
  end
  return step
end

-- A kind is what a publisher says of a message: message, end, producer_lost; start<window in ms> of a START that makes its
-- channel coalesce; text<from>,<to>,<from>,<to> of a text delta, the bytes of its name and of its text.
local function append(keys, step, key, data, kind)
  local snapshot, name, called, bytes = step.snapshot, kind, nil, data
  local first = string.byte(kind)
  if first == ${byte('s')} then
    name, snapshot = 'message', snapshot or openSnapshot(keys[1])
    snapshot.declare(string.sub(kind, 6))
    step.snapshot = snapshot
  elseif first == ${byte('t')} then
    name = 'message'
    if snapshot then
      local nameFrom, nameTo, from, to = string.match(kind, '^text(%d+),(%d+),(%d+),(%d+)$')
      called, bytes = string.sub(data, nameFrom + 1, tonumber(nameTo)), string.sub(data, from + 1, tonumber(to))
      name = 'text' .. snapshot.window
    end
  end
  -- What follows in a step is replicated with its first, or not at all.
  local id = #step.fields == 0 and idAfter(step.last) or '*'
  if called then
    id = redis.call('XADD', keys[1], id, 'prev', step.last, 'key', key, 'data', data, 'coalesce', snapshot.window)
  else
    id = redis.call('XADD', keys[1], id, 'prev', step.last, 'key', key, 'data', data)
  end
  redis.call('SPUBLISH', keys[4], id .. ' ' .. step.last .. ' ' .. name .. ' ' .. data)
  if snapshot then snapshot.keep(id, step.last, key, name, called, bytes) end
  if step.last == '0-0' then redis.call('HSET', keys[2], 'unary', '0:0', 'stream', '0:0') end
  local fields = step.fields
  fields[#fields + 1] = key
  fields[#fields + 1] = id
  step.length, step.bytes = step.length + 1, step.bytes + #data + ${ENTRY_OVERHEAD_BYTES}
  step.last, step.seals = id, name == 'end' or name == 'producer_lost'
  return id
end

local function settle(keys, step, rate, window, limits)
  local log, index, length, bytes = keys[1], keys[2], step.length, step.bytes
  local ms = tonumber(string.match(step.last, '^%d+'))
  local forget, size, removed = {}, 1, 0
  local function mayGo(entry)
    if length < 2 then return false end
    if bytes > limits.maxBytes then return true end
    return length - 1 > limits.maxEntries and removed < ${MAX_AGED_OUT}
      and ms - tonumber(string.match(entry[1], '^%d+')) > limits.minAgeMs
  end
  local more = length - 1 > limits.maxEntries or bytes > limits.maxBytes
  while more do
    local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', size)
    local before = length
    more = #oldest > 0
    for _, entry in ipairs(oldest) do
      more = mayGo(entry)
      if not more then break end
      forget[#forget + 1] = entry[2][4]
      bytes = bytes - #entry[2][6] - ${ENTRY_OVERHEAD_BYTES}
      length = length - 1
      removed = removed + 1
    end
    if length < before then redis.call('XTRIM', log, 'MAXLEN', length) end
    size = math.min(size * 2, 64)
  end

  local fields = step.fields
  local function set(field, value)
    fields[#fields + 1] = field
    fields[#fields + 1] = value
  end
  set('last', step.last)
  if window then set(rate, window) end
  local ttl = limits.idleTtlMs
  if step.seals then
    ttl = limits.sealedTtlMs
    set('sealed', step.last)
    redis.call('SET', keys[3], step.last, 'PX', ttl + ${SEAL_OUTLIVES_LOG_MS})
  end
  if step.snapshot then bytes = bytes .. ' ' .. step.snapshot.settle(limits.maxBytes, ttl) end
  set('bytes', bytes)
  redis.call('HSET', index, unpack(fields))
  -- After what is new was written: of a step that is larger than the log not even all of that stays.
  for from = 1, #forget, 500 do redis.call('HDEL', index, unpack(forget, from, math.min(from + 499, #forget))) end
  redis.call('PEXPIRE', log, ttl)
  redis.call('PEXPIRE', index, ttl)
end

local function limitsFrom(first)
  return {
    maxEntries = tonumber(ARGV[first]), minAgeMs = tonumber(ARGV[first + 1]), maxBytes = tonumber(ARGV[first + 2]),
    sealedTtlMs = tonumber(ARGV[first + 3]), idleTtlMs = tonumber(ARGV[first + 4])
  }
end
`;

/**
 * KEYS log, index, seal, live of a channel; ARGV rate name, rate per second, what counts (`calls` or `messages`), the limits: max
 * entries, min age, max bytes, sealed TTL, idle TTL; then how many messages, and key, data and kind of each. Answers lines:
 * for each message a word, and an id or the ms to wait. The order of the steps is guarantee 3.
 *
 * More channels may follow: their keys behind these keys, their messages behind these messages, their answers behind these
 * answers. Each is a step of its own. What is wrong with one channel alone is `failed` and a text for each of its messages.
 */
export const PUBLISH_SCRIPT = `${INDEX}${APPEND}
local rate, perSec = ARGV[1], tonumber(ARGV[2])
local answer = {}
local function publish(channel, first, count)
  local keys, ids = {}, {}
  for n = 1, count do keys[n] = ARGV[first + 3 * n - 3] end
  local length, found = load(channel[1], channel[2], rate, keys)
  for n, key in ipairs(keys) do ids[key] = found[4 + n] end

  -- An open log says that its channel is not sealed; without a log only the seal knows.
  local sealed = found[3] or (length == 0 and redis.call('GET', channel[3]))
  local step = begin(channel[1], length, found)
  local now, start, taken
  local counted = perSec == 0
  local wait = 0
  local results = {}
  for n, key in ipairs(keys) do
    local word, value = 'duplicate', ids[key]
    if wait > 0 then
      word, value = 'rate_limited', wait
    elseif not value and sealed then
      word, value = 'sealed', sealed
    elseif not value then
      if not counted then
        if not now then
          now = nowMs()
          start, taken = window(found[4])
          if now < start or now >= start + 1000 then start, taken = now, 0 end
        end
        if taken >= perSec then wait = start + 1000 - now else taken = taken + 1 end
        counted = ARGV[3] == 'calls'
      end
      if wait > 0 then
        word, value = 'rate_limited', wait
      else
        local at = first + 3 * n - 2
        word, value = 'stored', append(channel, step, key, ARGV[at], ARGV[at + 1])
        ids[key] = value
        if step.seals then sealed = value end
      end
    end
    results[#results + 1] = word
    results[#results + 1] = value
  end
  if #step.fields > 0 then
    settle(channel, step, rate, now and string.format('%d:%d', start, taken), limitsFrom(4))
  end
  for _, word in ipairs(results) do answer[#answer + 1] = word end
end

local function failed(count, problem)
  local text = type(problem) == 'table' and problem.err or tostring(problem)
  local ofChannel = string.find(text, '^WRONGTYPE ') or string.find(text, '^ERR ') or string.find(text, '^user_script')
  -- What is wrong with the server is so for all, and the client looks for it.
  if not ofChannel then error(problem) end
  for _ = 1, count do
    answer[#answer + 1] = 'failed'
    answer[#answer + 1] = string.gsub(text, '%s', ' ')
  end
end

local at = 9
for from = 1, #KEYS, 4 do
  local channel = { KEYS[from], KEYS[from + 1], KEYS[from + 2], KEYS[from + 3] }
  local count = tonumber(ARGV[at])
  if #KEYS == 4 then
    publish(channel, at + 1, count)
  else
    local done, problem = pcall(publish, channel, at + 1, count)
    if not done then failed(count, problem) end
  end
  at = at + 1 + 3 * count
end
return table.concat(answer, '\\n')
`;

/**
 * KEYS log, index, seal; ARGV after (exclusive), limit. Answers the entries, the last id, and what sealed, or ''; and what
 * follows these entries in the snapshot: words of pieces, their bytes, and where these begin.
 */
export const READ_SCRIPT = `${READ_SNAPSHOT}
local after, limit = ARGV[1], tonumber(ARGV[2])
local found = redis.call('HMGET', KEYS[2], 'last', 'sealed', 'bytes')
local last = '0-0'
if redis.call('EXISTS', KEYS[1]) == 1 then
  last = found[1] or redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1]
end
local sealed = redis.call('GET', KEYS[3]) or found[2] or ''
if limit == 0 then return {{}, last, sealed} end
if last ~= '0-0' and not tonumber(found[3] or 0) then
  local entries, words, bytes, from = readSnapshot(KEYS[1], found[3], after, limit)
  if entries then return {entries, last, sealed, words, bytes, from} end
end
return {redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', limit), last, sealed}
`;

/** KEYS log, index, seal, live; ARGV idle ms, and the limits. Answers `ended`, `active` and since when, or `over`. */
export const END_IDLE_SCRIPT = `${INDEX}${APPEND}
local length, found = load(KEYS[1], KEYS[2], 'unary', {})
if length == 0 or found[3] then return {'over'} end
local activeMs = string.match(found[1], '^%d+')
if nowMs() - tonumber(activeMs) < tonumber(ARGV[1]) then return {'active', activeMs} end
local step = begin(KEYS[1], length, found)
append(KEYS, step, 'producer_lost', '', 'producer_lost')
settle(KEYS, step, 'unary', false, limitsFrom(2))
return {'ended'}
`;

/** KEYS activity; ARGV channel, score. Removes the channel, unless a newer activity was reported meanwhile. */
export const FORGET_SCRIPT = `
if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then return redis.call('ZREM', KEYS[1], ARGV[1]) end
return 0
`;
