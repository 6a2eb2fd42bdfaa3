-- The beginning of every script: reads the server's clock, and defines the checks of the values that the scripts read.
-- The values are checked because any program with access to Redis can write anything there. A value that is out of
-- bounds is counted, treated as missing, and removed or overwritten.

local AHEAD_AT_MOST = 172800000000   -- 48 h: a time further ahead, or a number made from one, is rejected

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local refused = 0

local function text(number) return string.format('%.0f', number) end

-- Returns the integer in this text if it is within the bounds, otherwise nil. `tonumber` alone would also accept nan,
-- inf, 1e300 and 0x10.
local function whole(value, least, most)
  if not value then return nil end
  if #value <= 16 and string.find(value, '^%-?%d+$') then
    local number = tonumber(value)
    if number >= least and number <= most then return number end
  end
  refused = refused + 1
  return nil
end

-- Returns whether there was a value, and it was rejected.
local function is_wrong(value, number) return value and not number end

-- Runs a command that reads a key. If the key has the wrong type, another program wrote it. It is deleted, because
-- every script would fail until it is gone.
local function read(command, key, ...)
  local answer = redis.pcall(command, key, ...)
  if type(answer) ~= 'table' or not answer.err then return answer end
  if string.find(answer.err, 'WRONGTYPE', 1, true) then
    refused = refused + 1
    redis.call('DEL', key)
  end
  return redis.call(command, key, ...)
end

-- Returns the fencing number that is stored in this key, or in this field of a hash; 0 if there is none.
local function fence_in(key, field)
  local value
  if field then value = read('HGET', key, field) else value = read('GET', key) end
  local number = whole(value, 0, now + AHEAD_AT_MOST)
  if is_wrong(value, number) then
    if field then redis.call('HDEL', key, field) else redis.call('DEL', key) end
  end
  return number or 0
end
