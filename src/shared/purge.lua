-- Has records forgotten, and flights that began before this bring nothing back. Gives the purge's number.
--
-- KEYS  1 fence   2 budget   3 purges (sorted set)   4 record, 5 claim, 6 purged, and so on for each
-- ARGV  1 channel   2 milliseconds to remember a purge   3 how many are remembered   4 who purges
--       5 … what the keys are of; none: everything

local KEYS_EACH, KEYS_BEFORE = 3, 3
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local function text(number) return string.format('%.0f', number) end

local fence = text(math.max(now, (tonumber(redis.call('GET', KEYS[1]) or '') or 0) + 1))
redis.call('SET', KEYS[1], fence)
redis.call('HSET', KEYS[2], 'purge', fence)

local names = {unpack(ARGV, 5)}
if #names == 0 then
  redis.call('HSET', KEYS[2], 'purged_all', fence)
  names = {'*'}
else
  for i = 1, #names do
    local at = KEYS_BEFORE + (i - 1) * KEYS_EACH
    redis.call('DEL', KEYS[at + 1], KEYS[at + 2])
    redis.call('SET', KEYS[at + 3], fence, 'PX', ARGV[2])
  end
end
for _, name in ipairs(names) do
  redis.call('ZADD', KEYS[3], fence, name)
  redis.call('PUBLISH', ARGV[1], table.concat({'purged', name, fence, ARGV[4]}, ' '))
end
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[3]))
return fence
