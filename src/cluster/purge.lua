-- Runs after checks.lua, which defines now, text, read, whole, fence_in, is_wrong and refused.
--
-- Purges: removes records (or, if everything is purged, only makes them invalid), keeps fetches in progress from
-- storing theirs, and returns the purge's number. With 'missed', lists the purges after a number instead, for a replica
-- that missed their events.
--
-- The number is a fencing number (claims.lua), so every claim before the purge has a smaller number. Example: a claim
-- has number 1000, and a purge gets number 2000. The claim's record is not stored, because 1000 < 2000. A new claim
-- gets at least number 2001.
--
-- KEYS  1 last fencing number   2 quota (hash)   3 purges (sorted set)   4 record, 5 claim, 6 last purge, and so on for each name
-- ARGV  1 channel   2 milliseconds to remember a purge   3 how many are remembered   4 purging replica   5 … names; without any,
--       everything is purged
-- Returns the purge's number, how many values were out of bounds, and an empty list.
--
-- KEYS  1 to 3
-- ARGV  1 'missed'   2 number   3 how many are remembered   4 maximum length of a name
-- Returns how many purges there were, how many values were out of bounds, and a list of names and numbers in turn.

local KEYS_EACH, KEYS_BEFORE = 3, 3

-- A forged number in the far future would stay in the list forever, and hide all later purges.
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
