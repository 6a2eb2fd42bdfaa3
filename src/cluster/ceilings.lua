-- Runs after checks.lua, which defines now, text, read, whole, fence_in, is_wrong and refused.
--
-- Counts the calls that all replicas make for one caller with calls_per_minute or calls_per_day. While Redis is
-- available, a flight may start only if this script counts its first call, so the replicas together do not exceed the
-- limit with new flights.
--
-- The calls of the last minute are a sorted set of their times. Only the newest calls decide, so older calls beyond the
-- limit are dropped. Example: with a limit of 5 and calls at 0, 1, 2, 3 and 4 s, the next flight may start at 60 s. If
-- a flight makes two more calls at 5 and 6 s, the calls at 0 and 1 s are dropped. The next flight may then start at 62
-- s.
--
-- The count of the day contains only the calls that this script counted. The caller's account (quota.lua) also contains
-- the calls that replicas made without Redis, and survives a loss of memory. Each replica compares the account with the
-- limit before it runs this script. The script must not use the account, because that briefly contains the flights that
-- this script denies.
--
-- KEYS  1 calls of the minute   2 calls of the day ("day calls")
-- ARGV  1 op   2 calls_per_minute and 3 calls_per_day, 0 for none   4 deadline   5 calls permitted in a day
--       6 for 'take_back': the time under which the call is counted; 0 for the newest
-- Returns verdict, the time under which the call is counted or at which to try again, and how many values were rejected.

local MINUTE = 60000000
local DAY = 86400000000
local STEP = 1000000      -- a clock that was set by less than this has not gone back
local MOST = 4294967295

local OK, OVER_MINUTE, OVER_DAY, LATE = 0, 1, 2, 3

local op = ARGV[1]
local per_minute, per_day = tonumber(ARGV[2]), tonumber(ARGV[3])
local today = math.floor(now / DAY)

-- After the deadline, the replica no longer waits for the reply, so the call must not be counted.
if op == 'start' and now > tonumber(ARGV[4]) then return {LATE, now, 0} end

refused = refused + read('ZREMRANGEBYSCORE', KEYS[1], '(' .. text(now + STEP), '+inf')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now - MINUTE))
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - math.max(1, per_minute))
local minute = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf', 'WITHSCORES')
local size = #minute / 2

local most = math.min(MOST, math.max(10 * tonumber(ARGV[5]), 100000))   -- `bounds::calls_of_day`
local function words(value)
  local first, second = string.match(value and #value <= 40 and value or '', '^(%S+) (%S+)$')
  if value and not first then refused = refused + 1 end
  return first, second
end
local day, calls = words(read('GET', KEYS[2]))
local used = day == text(today) and whole(calls, 0, most) or 0

local function save(number)
  if per_day == 0 then return end
  redis.call('SET', KEYS[2], text(today) .. ' ' .. text(math.min(most, math.max(0, number))), 'PX', DAY / 1000)
end

if op == 'take_back' then
  if tonumber(ARGV[6]) > 0 then
    redis.call('ZREMRANGEBYSCORE', KEYS[1], ARGV[6], ARGV[6])
  else
    redis.call('ZREMRANGEBYRANK', KEYS[1], -1, -1)
  end
  save(used - 1)
  return {OK, now, refused}
end
if op == 'start' then
  if per_day > 0 and used >= per_day then return {OVER_DAY, (today + 1) * DAY, refused} end
  if per_minute > 0 and size >= per_minute then return {OVER_MINUTE, math.floor(tonumber(minute[2])) + MINUTE, refused} end
end
-- Each call has a unique time, by which it can be taken back.
local at = now
if size > 0 then at = math.max(now, math.floor(tonumber(minute[#minute])) + 1) end
if per_minute > 0 then
  redis.call('ZADD', KEYS[1], text(at), text(at))
  redis.call('PEXPIRE', KEYS[1], (MINUTE + STEP) / 1000)
end
save(used + 1)
return {OK, at, refused}
