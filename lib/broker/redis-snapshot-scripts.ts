import { ENTRY_OVERHEAD_BYTES, MAX_PIECE_BYTES } from './broker.ts';

/**
 * The parts of redis-scripts.ts for channels that coalesce. The snapshot is the bytes of all its pieces, one after the
 * other (`text`), and a word for each piece (`pieces`):
 *
 *     <where its bytes end> <prev> <last id> <key of its last message> <name> <what the text is called>
 *
 * The name is that of live entries: `message`, `end`, `producer_lost`, or of joined text deltas `text<window in ms>`.
 *
 * The last piece changes with every token: its word is not in the list but in the index, which a publish reads and writes
 * anyhow, under `coalesce`: `<window in ms>`, and if there is a snapshot ` <pieces in the list> <where its bytes begin> <its
 * word>`. So a token costs one APPEND and the renewal of two TTLs. What doesn't fit together (a key was evicted, or an
 * index rebuilt) is given up: entries are the truth, and readers get those.
 */

// Not among the KEYS of any script: two more would have to be sent and looked up with every publish of every channel. They
// have the hash tag of the log, and so its slot. While a slot moves no script writes: `live` is among its KEYS and never
// exists, so that Redis refuses it as a whole (TRYAGAIN).
const KEYS_BESIDE = `
local function beside(log, name)
  return string.sub(log, 1, -4) .. name
end
`;

/** For scripts that append. */
export const KEEP_SNAPSHOT = `${KEYS_BESIDE}
local function giveUp(log)
  redis.call('DEL', beside(log, 'text'), beside(log, 'pieces'))
end

local function word(snapshot)
  return snapshot.stop .. ' ' .. snapshot.prev .. ' ' .. snapshot.id .. ' ' .. snapshot.key .. ' '
    .. snapshot.name .. ' ' .. snapshot.called
end

-- What the index has under coalesce. Without 'kept' the channel coalesces, and its snapshot was given up.
local function openSnapshot(field)
  local window, closed, start, stop, prev, id, key, name, called =
    string.match(field, '^(%d+) (%d+) (%d+) (%d+) (%S+) (%S+) (%S+) (%S+) (.*)$')
  if not window then return { window = field } end
  return {
    window = window, kept = true, closed = tonumber(closed), start = tonumber(start), stop = tonumber(stop),
    prev = prev, id = id, key = key, name = name, called = called, words = {}, bytes = {}
  }
end

-- A START says that its channel coalesces.
local function declare(log, snapshot, window)
  if snapshot and snapshot.kept then
    snapshot.window = window
    return snapshot
  end
  giveUp(log)
  return { window = window, kept = true, closed = 0, start = 0, stop = 0, words = {}, bytes = {} }
end

-- 'called' is what a text delta calls its text, which then is 'bytes'; nil for other messages.
local function keep(snapshot, id, prev, key, name, called, bytes)
  local joins = called and snapshot.name == name and snapshot.called == called
    and snapshot.stop - snapshot.start + #bytes <= ${MAX_PIECE_BYTES}
  if not joins then
    if snapshot.id then
      snapshot.words[#snapshot.words + 1] = word(snapshot)
      snapshot.closed = snapshot.closed + 1
    end
    snapshot.start, snapshot.prev, snapshot.name, snapshot.called = snapshot.stop, prev, name, called or ''
  end
  snapshot.stop, snapshot.id, snapshot.key = snapshot.stop + #bytes, id, key
  snapshot.bytes[#snapshot.bytes + 1] = bytes
end

-- At the end of a step. Answers what the index is to have.
local function settleSnapshot(log, snapshot, maxBytes, ttl)
  if not snapshot.kept then return snapshot.window end
  local text, pieces, closed, stop = beside(log, 'text'), beside(log, 'pieces'), snapshot.closed, snapshot.stop
  local kept = stop + ${ENTRY_OVERHEAD_BYTES} * (closed + 1) <= maxBytes
    and (#snapshot.words == 0 or redis.call('RPUSH', pieces, unpack(snapshot.words)) == closed)
    and redis.call('APPEND', text, table.concat(snapshot.bytes)) == stop
    and redis.call('PEXPIRE', text, ttl) == 1
    and (closed == 0 or redis.call('PEXPIRE', pieces, ttl) == 1)
  if not kept then
    giveUp(log)
    return snapshot.window
  end
  return snapshot.window .. ' ' .. closed .. ' ' .. snapshot.start .. ' ' .. word(snapshot)
end
`;

/** For the script that reads: entries up to where the next piece begins, and pieces from there. */
export const READ_SNAPSHOT = `${KEYS_BESIDE}
local function isBefore(a, b)
  local aMs, aN = string.match(a, '^(%d+)-(%d+)$')
  local bMs, bN = string.match(b, '^(%d+)-(%d+)$')
  aMs, aN, bMs, bN = tonumber(aMs), tonumber(aN), tonumber(bMs), tonumber(bN)
  return aMs < bMs or (aMs == bMs and aN < bN)
end

-- Answers nothing where there are no pieces to answer from; otherwise entries, words, bytes, and where these begin.
local function readSnapshot(log, coalesce, after, limit)
  local closed, open, stop = string.match(coalesce, '^%d+ (%d+) %d+ ((%d+) .*)$')
  if not closed then return end
  local text, pieces = beside(log, 'text'), beside(log, 'pieces')
  closed, stop = tonumber(closed), tonumber(stop)
  -- pcall: while their slot moves these may be at its new place already, and can't be looked at.
  if redis.pcall('LLEN', pieces) ~= closed or redis.pcall('STRLEN', text) ~= stop then return end

  -- Pieces count from 1; the last is the open one.
  local function piece(n)
    local ends, prev, id = string.match(n > closed and open or redis.call('LINDEX', pieces, n - 1), '^(%d+) (%S+) (%S+)')
    return id, prev, tonumber(ends)
  end
  -- How many pieces the reader has had, where it goes on, and where their bytes end.
  local had, from = 0, 0
  local _, place = piece(1)
  if isBefore(place, after) then
    local low, high = 1, closed + 1
    while low < high do
      local middle = math.floor((low + high) / 2)
      if isBefore((piece(middle)), after) then low = middle + 1 else high = middle end
    end
    if low > closed then return end
    had = low
    place, _, from = piece(low)
  end

  -- What retention has taken of these is missing; the pieces behind them are whole.
  local entries = place == after and {} or redis.call('XRANGE', log, '(' .. after, place, 'COUNT', limit)
  local room = limit - #entries
  if room == 0 then return entries, {}, '', 0 end
  local words = {}
  if had < closed then words = redis.call('LRANGE', pieces, had, math.min(had + room, closed) - 1) end
  if #words < room then words[#words + 1] = open end
  local to = tonumber(string.match(words[#words], '^%d+'))
  return entries, words, to > from and redis.call('GETRANGE', text, from, to - 1) or '', from
end
`;
