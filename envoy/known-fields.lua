-- The transcoder drops a JSON field that its message does not have, without a word: a setting with a misspelt name would
-- be answered as if it were set. This says no to it instead, and to what is not JSON.
--
-- Put before this are, from the contracts:
--   messages  by name, its fields by both of their names: the name of the field's message, or "" for any other value
--   bodies    { method, pattern of the path, the name of the body's message }

local MAX_DEPTH = 64
-- Of a name in an answer.
local MAX_NAME = 64

local function fail(at)
  error({ text = 'The body is not JSON: see byte ' .. at }, 0)
end

local function skipSpace(text, at)
  return text:find('[^ \t\r\n]', at) or #text + 1
end

-- What stands between the quotes, and where it goes on after them.
local function readString(text, at)
  local next = at + 1
  while true do
    local stop = text:find('["\\]', next)
    if not stop then fail(at) end
    if text:sub(stop, stop) == '"' then return text:sub(at + 1, stop - 1), stop + 1 end
    next = stop + 2
  end
end

local skipValue

local function skipObject(text, at, fields, path, depth)
  local next = skipSpace(text, at + 1)
  if text:sub(next, next) == '}' then return next + 1 end
  while true do
    if text:sub(next, next) ~= '"' then fail(next) end
    local name
    name, next = readString(text, next)
    local inner = path .. name:sub(1, MAX_NAME)
    if fields and not fields[name] then error({ text = inner .. ': there is no such field' }, 0) end
    next = skipSpace(text, next)
    if text:sub(next, next) ~= ':' then fail(next) end
    next = skipValue(text, next + 1, fields and messages[fields[name]], inner .. '.', depth + 1)
    local after = text:sub(next, next)
    if after == '}' then return next + 1 end
    if after ~= ',' then fail(next) end
    next = skipSpace(text, next + 1)
  end
end

local function skipArray(text, at, fields, path, depth)
  local next = skipSpace(text, at + 1)
  if text:sub(next, next) == ']' then return next + 1 end
  while true do
    next = skipValue(text, next, fields, path, depth + 1)
    local after = text:sub(next, next)
    if after == ']' then return next + 1 end
    if after ~= ',' then fail(next) end
    next = next + 1
  end
end

-- Where it goes on after the value that begins at or after `at`. Values themselves are the transcoder's to judge.
function skipValue(text, at, fields, path, depth)
  if depth > MAX_DEPTH then fail(at) end
  local from = skipSpace(text, at)
  local first = text:sub(from, from)
  local next
  if first == '{' then
    next = skipObject(text, from, fields, path, depth)
  elseif first == '[' then
    next = skipArray(text, from, fields, path, depth)
  elseif first == '"' then
    local _
    _, next = readString(text, from)
  else
    local _, last = text:find('^[%w+.-]+', from)
    if not last then fail(from) end
    next = last + 1
  end
  return skipSpace(text, next)
end

local function fieldsOf(method, path)
  for _, body in ipairs(bodies) do
    if body[1] == method and path:find(body[2]) then return messages[body[3]] end
  end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  -- As the transcoder sees it, which passes over a slash at the end.
  local path = headers:get(':path'):gsub('%?.*', ''):gsub('/+$', '')
  local fields = fieldsOf(headers:get(':method'), path)
  local body = fields and handle:body()
  if not body or body:length() == 0 then return end
  local text = body:getBytes(0, body:length())
  local isFine, problem = pcall(function()
    local stop = skipValue(text, 1, fields, '', 0)
    if stop <= #text then fail(stop) end
  end)
  if isFine then return end
  -- The answer's form is that of every error of the edge.
  handle:respond({ [':status'] = '400' }, problem.text or error(problem))
end
