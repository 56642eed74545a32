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
 * anyhow, behind the number in `bytes`: ` <window in ms>`, and if there is a snapshot ` <pieces in the list> <where its bytes
 * begin> <its word>`. So a token costs one APPEND and the renewal of two TTLs, and a channel that doesn't coalesce nothing:
 * a field of its own would be looked for in vain with every publish. What doesn't fit together (a key was evicted, or an
 * index rebuilt) is given up: entries are the truth, and readers get those.
 *
 * `text` and `pieces` are not among the KEYS of any script: two more would have to be sent and looked up with every publish
 * of every channel. They have the hash tag of the log, and so its slot. While a slot moves no script writes: `live` is among
 * its KEYS and never exists, so that Redis refuses it as a whole (TRYAGAIN).
 *
 * Each part is one function with all others in it: what a script defines is made anew whenever it runs.
 */

/** For scripts that append. */
export const KEEP_SNAPSHOT = `
-- The snapshot of a log: 'state' is what the index has of it, behind the bytes; without, there is none yet. One that is not
-- 'kept' was given up.
local function openSnapshot(log, state)
  local text, pieces = string.sub(log, 1, -4) .. 'text', string.sub(log, 1, -4) .. 'pieces'
  local window, closed, start, stop, prev, last, lastKey, lastName, lastCalled = string.match(
    state or '', '^(%d+) (%d+) (%d+) (%d+) (%S+) (%S+) (%S+) (%S+) (.*)$')
  closed, start, stop = tonumber(closed), tonumber(start), tonumber(stop)
  local snapshot = { window = window or state, kept = window and true }
  local words, parts = {}, {}

  local function word()
    return stop .. ' ' .. prev .. ' ' .. last .. ' ' .. lastKey .. ' ' .. lastName .. ' ' .. lastCalled
  end

  function snapshot.giveUp()
    redis.call('DEL', text, pieces)
    snapshot.kept = false
  end

  -- A START says that its channel coalesces.
  function snapshot.declare(declared)
    snapshot.window = declared
    if snapshot.kept then return end
    snapshot.giveUp()
    closed, start, stop, last = 0, 0, 0, nil
    words, parts = {}, {}
    snapshot.kept = true
  end

  -- 'called' is what a text delta calls its text, which then is 'bytes'; nil for other messages.
  function snapshot.keep(id, before, key, name, called, bytes)
    if not snapshot.kept then return end
    local joins = called and lastName == name and lastCalled == called and stop - start + #bytes <= ${MAX_PIECE_BYTES}
    if not joins then
      if last then
        words[#words + 1] = word()
        closed = closed + 1
      end
      start, prev, lastName, lastCalled = stop, before, name, called or ''
    end
    stop, last, lastKey = stop + #bytes, id, key
    parts[#parts + 1] = bytes
  end

  -- At the end of a step. Answers what the index is to have.
  function snapshot.settle(maxBytes, ttl)
    if not snapshot.kept then return snapshot.window end
    local fits = stop + ${ENTRY_OVERHEAD_BYTES} * (closed + 1) <= maxBytes
      and (#words == 0 or redis.call('RPUSH', pieces, unpack(words)) == closed)
      and redis.call('APPEND', text, table.concat(parts)) == stop
      and redis.call('PEXPIRE', text, ttl) == 1
      and (closed == 0 or redis.call('PEXPIRE', pieces, ttl) == 1)
    if fits then return snapshot.window .. ' ' .. closed .. ' ' .. start .. ' ' .. word() end
    snapshot.giveUp()
    return snapshot.window
  end

  return snapshot
end
`;

/** For the script that reads: entries up to where the next piece begins, and pieces from there. */
export const READ_SNAPSHOT = `
-- Answers nothing where there are no pieces to answer from; otherwise entries, words, bytes, and where these begin.
local function readSnapshot(log, state, after, limit)
  local closed, open, stop = string.match(state, '^%d+ %d+ (%d+) %d+ ((%d+) .*)$')
  if not closed then return end
  local text, pieces = string.sub(log, 1, -4) .. 'text', string.sub(log, 1, -4) .. 'pieces'
  closed, stop = tonumber(closed), tonumber(stop)
  -- pcall: while their slot moves these may be at its new place already, and can't be looked at.
  if redis.pcall('LLEN', pieces) ~= closed or redis.pcall('STRLEN', text) ~= stop then return end

  local function isBefore(a, b)
    local aMs, aN = string.match(a, '^(%d+)-(%d+)$')
    local bMs, bN = string.match(b, '^(%d+)-(%d+)$')
    aMs, aN, bMs, bN = tonumber(aMs), tonumber(aN), tonumber(bMs), tonumber(bN)
    return aMs < bMs or (aMs == bMs and aN < bN)
  end

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
