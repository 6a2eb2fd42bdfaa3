-- The beginning of every script: the server's clock, and the checks that everything read passes through. A program with access to
-- Redis can have written anything. A value that is out of bounds counts as missing, is removed or overwritten, and is counted.

local AHEAD_AT_MOST = 172800000000   -- 48 h: no time of ours is further ahead, and no number that was made of a time

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local refused = 0

local function text(number) return string.format('%.0f', number) end

-- A whole number within these bounds, or nil. `tonumber` alone would also accept nan, inf, 1e300 and 0x10.
local function whole(value, least, most)
  if not value then return nil end
  if #value <= 16 and string.find(value, '^%-?%d+$') then
    local number = tonumber(value)
    if number >= least and number <= most then return number end
  end
  refused = refused + 1
  return nil
end

-- Whether a value was there and was rejected.
local function is_wrong(value, number) return value and not number end

-- A key of another type is not ours, and would make every script fail for ever.
local function read(command, key, ...)
  local answer = redis.pcall(command, key, ...)
  if type(answer) ~= 'table' or not answer.err then return answer end
  if string.find(answer.err, 'WRONGTYPE', 1, true) then
    refused = refused + 1
    redis.call('DEL', key)
  end
  return redis.call(command, key, ...)
end

-- A number that orders claims, records and purges, in a key or in a field of a hash; 0 if there is none.
local function fence_in(key, field)
  local value
  if field then value = read('HGET', key, field) else value = read('GET', key) end
  local number = whole(value, 0, now + AHEAD_AT_MOST)
  if is_wrong(value, number) then
    if field then redis.call('HDEL', key, field) else redis.call('DEL', key) end
  end
  return number or 0
end
