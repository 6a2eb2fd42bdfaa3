-- What all replicas may spend, decided in one step by the server's own clock.
--
-- Times are microseconds since 1970-01-01 UTC, as whole numbers: Lua's doubles hold them exactly until the year 2255.
--
-- KEYS  1 budget (hash)   2 members (hash: replica -> "seen back demand wish report")
-- ARGV  1 op   2 replica   3 the server's run id, as the replica saw it when it connected   4 deadline
--       5 calls permitted in a second   6 replicas that there can be   7 calls permitted in a day
--       8 calls that wait at this replica   9 what its refreshes would cost, calls an hour
--       10 day and 11 count that it last heard of   12 calls that it made alone   13 number of that report
--       14 how long its share is to be kept back yet, since it called alone   15 run id of the server that it heard that of
--       16 … what the op needs
-- Gives verdict, now, at, why, day, used, taken, cool-down of the second, of the day, demand, live, free, wishes, purge

local LEASE = 1500000     -- a replica that was not heard of for so long may be calling by itself
local GONE = 3600000000   -- and after so long it is taken for dead
local HOLD = 1050000      -- Zoom's second, and some slack; replicas that called alone say it of themselves, too
local AHEAD = 500000      -- how far ahead of its time a call may be reserved
local WARM = 30000000     -- so long after a loss of memory replicas are expected that have not come yet
local SECOND = 1040000    -- what N calls are spread over: 96.2 % of N, and 40 ms of slack for late timers and slow networks
local DAY = 86400000000
local DAY_HAS_TURNED = 300000000

local OK, PERMIT, NOT_BEFORE, LATE = 0, 1, 2, 3
local NOTHING, PACE, COOL_SECOND, COOL_DAY, SPENT = 0, 1, 2, 3, 4

local op, me = ARGV[1], ARGV[2]
local permitted, replicas, per_day = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])

local function text(number) return string.format('%.0f', number) end

-- What the replica has given up waiting for must have no effect: it may have begun to call by itself.
local asks = op == 'beat' or op == 'permit'
local deadline = tonumber(ARGV[4])
if asks and (now > deadline or deadline > now + 5000000) then
  return {LATE, now, 0, NOTHING, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
end

local fields = {'run', 'now', 'fresh', 'empty', 'next', 'day', 'base', 'used', 'taken', 'cool_second', 'cool_day', 'purge'}
local values = redis.call('HMGET', KEYS[1], unpack(fields))
local b = {}
for i, field in ipairs(fields) do b[field] = values[i] end
local function number(field, otherwise) return tonumber(b[field] or '') or otherwise end

-- Another server, one that restarted, or a clock that went back: it may have forgotten what it gave a moment ago.
local fresh, empty = number('fresh', now), number('empty', now)
local next_at = number('next', 0)
local furthest = math.max(AHEAD, math.ceil(replicas * SECOND / permitted))
local base, used = number('base', 0), number('used', 0)
if b.run ~= ARGV[3] or number('now', 0) > now + 1000000 then
  fresh = now
  base, used = base + used, 0
  if not b.run or number('now', 0) > now + 1000000 then empty = now end
  next_at = now + HOLD + furthest
end

-- The day, which never goes back: what was counted before the last loss of memory, and since. A replica that comes for the
-- first time after one says how much it had heard of; with the largest of these, what came later is added up once.
local day, taken = number('day', -1), number('taken', 0)
local today = math.floor(now / DAY)
local known_day, known_used = tonumber(ARGV[10]), tonumber(ARGV[11])
local forgetful = now < fresh + WARM
if forgetful and known_day == today + 1 then today = known_day end
if today > day then day, base, used, taken = today, 0, 0, 0 end

-- Who is there, who may be calling by itself, and who has just come back from that.
local live, lost, held, demand, wishes, report = 0, 0, 0, 0, 0, -1
local everybody = redis.call('HGETALL', KEYS[2])
local my_back, comes_first = 0, true
for i = 1, #everybody, 2 do
  local seen, back, wants, wish, reported = string.match(everybody[i + 1], '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
  seen, back = math.min(tonumber(seen) or 0, now), tonumber(back) or 0
  if everybody[i] == me then
    report = tonumber(reported) or -1
    my_back, comes_first = back, ARGV[15] ~= ARGV[3]
  elseif now - seen > GONE then
    redis.call('HDEL', KEYS[2], everybody[i])
  elseif now - seen > LEASE then
    lost = lost + 1
  else
    live = live + 1
    demand = demand + (tonumber(wants) or 0)
    wishes = wishes + (tonumber(wish) or 0)
    if back > now then held = held + 1 end
  end
end
if asks then
  my_back = math.max(my_back, now + tonumber(ARGV[14]))
  if my_back > now then held = held + 1 end
  live, demand, wishes = live + 1, demand + tonumber(ARGV[8]), wishes + tonumber(ARGV[9])
  if forgetful and comes_first and known_day == day then base = math.max(base, known_used) end
  if tonumber(ARGV[13]) > report then
    report = tonumber(ARGV[13])
    if known_day == day then used = used + tonumber(ARGV[12]) end
  end
  redis.call('HSET', KEYS[2], me, table.concat({text(now), text(my_back), ARGV[8], ARGV[9], text(report)}, ' '))
end
if now < empty + WARM then lost = lost + replicas end
-- The part of the second that those may be using whom the server cannot see.
local share = math.max(1, math.floor(permitted / replicas))
local apart = math.min(replicas, math.min(lost, math.max(0, replicas - live)) + held)
local free = math.max(0, permitted - apart * share)

local cool_second, cool_day = number('cool_second', 0), number('cool_day', 0)
local verdict, at, why = OK, 0, NOTHING

if op == 'permit' then
  local spacing = free > 0 and math.ceil(SECOND / free) or 0
  -- 16 how long the answer may be under way: a slot whose time is over when it is heard of would be lost
  local slot = math.max(next_at, now + math.min(tonumber(ARGV[16]), AHEAD / 2))
  if math.max(cool_second, cool_day) > now then
    verdict, at = NOT_BEFORE, math.max(cool_second, cool_day)
    why = cool_day >= cool_second and COOL_DAY or COOL_SECOND
  elseif base + used >= per_day then
    verdict, at, why = NOT_BEFORE, (day + 1) * DAY, SPENT
  elseif free == 0 then
    verdict, at, why = NOT_BEFORE, now + 100000, PACE
  elseif slot - now > math.max(AHEAD, live * spacing) then
    verdict, at, why = NOT_BEFORE, slot - AHEAD, PACE
  else
    verdict, at = PERMIT, slot
    next_at = slot + spacing
    used = used + 1
  end
elseif op == 'give_back' then
  if tonumber(ARGV[16]) == day then used = math.max(-base, used - 1) end
elseif op == 'left' then
  -- Of a call of today, and not so soon after midnight that Zoom may speak of yesterday.
  local left, called = tonumber(ARGV[16]), now - tonumber(ARGV[17])
  if math.floor(called / DAY) == day and called % DAY >= DAY_HAS_TURNED then
    local more = math.max(0, per_day - left - base - used)
    used, taken = used + more, taken + more
  end
elseif op == 'cool' then
  local ends = now + tonumber(ARGV[17])
  if ARGV[16] == 'second' then cool_second = math.max(cool_second, ends) else cool_day = math.max(cool_day, ends) end
  redis.call('PUBLISH', ARGV[18], table.concat({'cool', ARGV[16], text(ends), ARGV[19]}, ' '))
elseif op == 'leave' then
  redis.call('HDEL', KEYS[2], me)
end

redis.call('HSET', KEYS[1], 'run', ARGV[3], 'now', text(now), 'fresh', text(fresh), 'empty', text(empty),
  'next', text(next_at), 'day', text(day), 'base', text(base), 'used', text(used), 'taken', text(taken),
  'cool_second', text(cool_second), 'cool_day', text(cool_day))

return {verdict, now, at, why, day, base + used, taken, cool_second, cool_day, demand, live, free, wishes, number('purge', 0)}
