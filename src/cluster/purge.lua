-- Has records forgotten, and flights that began before this bring nothing back. Gives the purge's number.
-- Told of no purge, it gives those after a number instead: what, number, and so on.
--
-- KEYS  1 fence   2 budget   3 purges (sorted set)   4 record, 5 claim, 6 purged, and so on for each
-- ARGV  1 channel   2 milliseconds to remember a purge   3 how many are remembered   4 who purges
--       5 … what the keys are of; none: everything
-- ARGV  1 'missed'   2 the number   3 how many are remembered   4 the longest name

local KEYS_EACH, KEYS_BEFORE = 3, 3

-- One from far ahead would never leave the list, and everybody would wait for what comes after it.
refused = refused + read('ZREMRANGEBYSCORE', KEYS[3], '(' .. text(now + AHEAD_AT_MOST), '+inf')

if ARGV[1] == 'missed' then
  local missed = {}
  local found = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. ARGV[2], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
  for i = 1, #found, 2 do
    if #found[i] > tonumber(ARGV[4]) then
      refused = refused + 1
    else
      missed[#missed + 1] = found[i]
      missed[#missed + 1] = found[i + 1]
    end
  end
  return {#found / 2, refused, missed}
end

local number = math.max(now, fence_in(KEYS[1]) + 1, fence_in(KEYS[2], 'purge') + 1, fence_in(KEYS[2], 'purged_all') + 1)
local fence = text(number)
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
return {number, refused, {}}
