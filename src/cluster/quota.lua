-- Runs after checks.lua, which defines now, text, read, whole, fence_in, is_wrong and refused.
--
-- The quota of all replicas. Each run decides in one step, by the server's clock.
--
-- The script deals slots: times for calls. For N calls a second, slots are 1.04 s / N apart, whichever replica asks.
-- Example: 36 calls a second are permitted, and three replicas ask at 12:00:00.000. They get .000, .0289 and .0578, and
-- the next request gets .0867. A slot is usually dealt at most 0.5 s ahead. If the next slot is later than that, the
-- replica gets the time at which to ask again.
--
-- The hard part is to account for replicas that call without asking here. A replica that was silent for 1.5 s
-- (MISSING_AFTER) may have lost Redis. It will then call on its own, within its share of N / replicas. The script
-- therefore subtracts its share from N when it deals slots to the others. Example: N = 36, and one of three replicas is
-- silent. Its share is 12, so the others get slots for 24 calls a second, 43 ms apart. When the silent replica is back,
-- it reports for how long its last calls still count in Zoom's second. Its share stays subtracted until then.
--
-- A server may have forgotten the slots that it has just dealt, because it restarted, was emptied or failed over, or
-- because its clock went back. No slot is then dealt until the forgotten slots are over (next_at). If it may also have
-- forgotten the replicas, those that have not sent a heartbeat since are treated as calling on their own for 30 s
-- (WARM). The replicas remember the day's count, and report it.
--
-- Times are microseconds since 1970-01-01 UTC, as whole numbers. Lua's doubles represent them exactly until the year
-- 2255.
--
-- KEYS  1 quota (hash)   2 members (hash: replica -> "seen back demand wish report")
--       3 callers (hash: day, caller -> "calls drawn_until", times of day in microseconds)
-- ARGV  1 op   2 replica   3 the server's run id, as the replica saw it when it connected   4 deadline
--       5 calls permitted in a second   6 replicas that there can be   7 calls permitted in a day
--       8 calls that wait at this replica   9 calls an hour that its refreshes would cost
--       10 day and 11 count that it last got   12 calls that it made on its own   13 number of this report
--       14 for how long its share is still in use, after its last call on its own   15 run id of the server of 10 and 11
--       16 changes of the callers' accounts, five words each ("+ caller calls drawn from", or "= caller calls drawn_until 0" for an
--       account that this server had forgotten), or "-" if the replica has no callers   17 … the arguments of the op
-- Returns verdict, now, at, why, day, used, taken, end of the cool-down of the second, of the day, demand, live, free, wishes,
-- purge, how many values were rejected, and in reply to a heartbeat with callers the accounts (name, calls, drawn_until); -1 if this
-- server may have forgotten accounts, and the replica has to send those that it knows; else 0

local MISSING_AFTER = 1500000     -- a replica that was silent for longer is missing: it may be calling on its own
local GONE = 3600000000   -- a replica that was silent for longer counts as ended
local ZOOM_SECOND = 1050000   -- Zoom's second, and some slack
local AHEAD = 500000      -- how far ahead of its time a slot may be dealt
local WARM = 30000000     -- for how long after a loss of memory missing replicas are treated as calling on their own
local SECOND = 1040000    -- N slots are spread over this: 96.2 % of N, and 40 ms of slack for late timers and slow networks
local DAY = 86400000000
local DAY_HAS_TURNED = 300000000   -- for this long after 00:00 UTC, Zoom's clock may still show the previous day
local PAUSE = 60000000    -- the longest cool-down of the second, and the longest part of a cool-down of the day after 00:00 UTC
local STEP = 1000000      -- a clock that was set by less than this has not gone back
local MOST = 4294967295   -- the largest count that is returned
local MOST_OF_ONE = 1000000000   -- the largest demand or wish of one replica
local MOST_MEMBERS = 4096     -- far more replicas than can have sent heartbeats within an hour
local LONGEST_MEMBER = 128
local MOST_CALLERS = 1000
local LONGEST_CALLER = 64

local OK, PERMIT, NOT_BEFORE, LATE = 0, 1, 2, 3
local NOTHING, RATE, COOL_SECOND, COOL_DAY, SPENT = 0, 1, 2, 3, 4

-- The op 'probe' takes no slot, and records nothing about the replica.
local op, me = ARGV[1], ARGV[2]
local permitted, replicas, per_day = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
-- `bounds::calls_of_day`: the highest count of a day, even after its limit was lowered.
local most_calls = math.min(MOST, math.max(10 * per_day, 100000))

-- A request that arrives after its deadline must have no effect, because the replica may have begun to call on its own.
-- This happens when a server that was suspended resumes, and reads such requests from its buffers.
local sign_of_life = op == 'beat' or op == 'permit'
local deadline = tonumber(ARGV[4])
if sign_of_life and (now > deadline or deadline > now + 5000000) then
  return {LATE, now, 0, NOTHING, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
end

-- 1. The stored values. A value that is out of bounds counts as missing.

local fields = {'run', 'now', 'fresh', 'empty', 'next', 'day', 'base', 'used', 'taken', 'cool_second', 'cool_day', 'purge'}
local values = read('HMGET', KEYS[1], unpack(fields))
local b = {}
for i, field in ipairs(fields) do b[field] = values[i] end
local function number(field, least, most) return whole(b[field], least, most) end

local furthest = math.max(AHEAD, math.ceil(replicas * SECOND / permitted))
local refused_before = refused
local members = read('HLEN', KEYS[2])
if members > MOST_MEMBERS then refused = refused + 1 end
local forget_members = refused > refused_before
local latest_next = now + ZOOM_SECOND + STEP + 2 * math.max(AHEAD, math.max(replicas, members) * SECOND)
local today = math.floor(now / DAY)
-- Before a failover, the clock of the other server may have been a little ahead, and may have begun the next day
-- already.
local latest_day = math.floor((now + DAY_HAS_TURNED) / DAY)
local function until_at_most(kind)
  if kind == 'second' then return now + PAUSE end
  return (today + 1) * DAY + PAUSE
end

local last = number('now', 0, now + AHEAD_AT_MOST) or now
local went_back = last > now + STEP
local latest_past = went_back and last or now + STEP
local fresh = number('fresh', 0, latest_past) or now   -- since when this server has lost nothing
local empty = number('empty', 0, latest_past) or now   -- when it last lost the list of replicas
-- If the time of the next slot is unknown, assume that all slots that may be dealt in advance are dealt.
local next_at = number('next', 0, latest_next) or now + ZOOM_SECOND + furthest
-- The day's count is in two parts: before the last loss of memory (base), and since (used).
local day, base = number('day', -1, latest_day), number('base', 0, most_calls)
local used, taken = number('used', -(base or 0), most_calls - (base or 0)), number('taken', 0, most_calls)
local cool_second = number('cool_second', 0, until_at_most('second') + STEP) or 0
local cool_day = number('cool_day', 0, until_at_most('day') + STEP) or 0
local purge = number('purge', 0, now + AHEAD_AT_MOST)
if is_wrong(b.purge, purge) then redis.call('HDEL', KEYS[1], 'purge') end

-- 2. Losses of memory.

-- A count that is missing or out of bounds is lost. The replicas report the counts that they remember.
if not b.run or is_wrong(b.day, day) or is_wrong(b.base, base) or is_wrong(b.used, used) then
  day, base, used, taken, fresh = nil, nil, nil, nil, now
  forget_members = true
end
if forget_members then
  -- Without the list of replicas, any replica may be calling on its own.
  empty = now
  redis.call('DEL', KEYS[2])
end
day, base, used, taken = day or -1, base or 0, used or 0, taken or 0

-- This is another server, the server has restarted, or its clock went back. It may have forgotten slots that were dealt
-- in advance, so no slot is dealt until those have left Zoom's second.
if b.run ~= ARGV[3] or went_back then
  fresh = now
  base, used = base + used, 0
  if not b.run or went_back then empty = now end
  next_at = now + ZOOM_SECOND + furthest
end

-- 3. The day. It does not go back if the clock goes back a little.

-- With its first heartbeat after a loss of memory, a replica reports the count that it last got. The largest reported
-- count becomes the base, and the calls counted since the loss are added to it once. Example: before a failover, 500
-- calls were counted. The new server knows 480 of them, and counts 3 more. Then a replica reports 500, so base = 500
-- and used = 3.
local known_day, known_used = tonumber(ARGV[10]), tonumber(ARGV[11])
if known_used > most_calls then known_day, known_used = -1, 0 end
local forgetful = now < fresh + WARM
if forgetful and known_day > today and known_day <= latest_day then today = known_day end
if today > day then day, base, used, taken = today, 0, 0, 0 end

-- 4. The replicas: how many are present (live), may be calling on their own (lost), or are present but have called on
-- their own within Zoom's second (held).

local live, lost, held, demand, wishes, report = 0, 0, 0, 0, 0, -1
local everybody = redis.call('HGETALL', KEYS[2])
local my_back, comes_first, is_new_report = 0, true, false
for i = 1, #everybody, 2 do
  local member, about = everybody[i], everybody[i + 1]
  local seen, back, wants, wish, reported
  if #about <= LONGEST_MEMBER then
    seen, back, wants, wish, reported = string.match(about, '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
  end
  if not seen then refused = refused + 1 end
  seen = whole(seen, 0, now + AHEAD_AT_MOST) or 0
  if seen > now + STEP then
    -- After the clock went back, times in the future are legitimate. This time is set to now, so that it ages like the
    -- others.
    if not went_back then refused = refused + 1 end
    redis.call('HSET', KEYS[2], member, table.concat({text(now), back, wants, wish, reported}, ' '))
  end
  seen = math.min(seen, now)
  back = whole(back, 0, latest_past + 2 * ZOOM_SECOND) or 0
  wants, wish = whole(wants, 0, MOST_OF_ONE) or 0, whole(wish, 0, MOST_OF_ONE) or 0
  if member == me then
    -- Only this replica numbers its reports, and only a few later requests can overtake this one, so a much larger
    -- number is wrong.
    report = whole(reported, -1, tonumber(ARGV[13]) + 1000) or -1
    my_back, comes_first = back, ARGV[15] ~= ARGV[3]
  elseif now - seen > GONE then
    redis.call('HDEL', KEYS[2], member)
  elseif now - seen > MISSING_AFTER then
    lost = lost + 1
  else
    live = live + 1
    demand = demand + wants
    wishes = wishes + wish
    if back > now then held = held + 1 end
  end
end
if sign_of_life then
  my_back = math.max(my_back, now + tonumber(ARGV[14]))
  if my_back > now then held = held + 1 end
  local wants, wish = math.min(tonumber(ARGV[8]), MOST_OF_ONE), math.min(tonumber(ARGV[9]), MOST_OF_ONE)
  live, demand, wishes = live + 1, demand + wants, wishes + wish
  if forgetful and comes_first and known_day == day then
    base = math.max(base, known_used)
    used = math.min(used, most_calls - base)
  end
  -- A report whose reply was lost is sent again with the same number, and counts once.
  if tonumber(ARGV[13]) > report then
    is_new_report = true
    report = tonumber(ARGV[13])
    if known_day == day then used = math.min(most_calls - base, used + tonumber(ARGV[12])) end
  end
  redis.call('HSET', KEYS[2], me, table.concat({text(now), text(my_back), text(wants), text(wish), text(report)}, ' '))
end
if now < empty + WARM then lost = lost + replicas end
-- Subtract the shares of these replicas, but of no more replicas than are configured.
local share = math.max(1, math.floor(permitted / replicas))
local apart = math.min(replicas, math.min(lost, math.max(0, replicas - live)) + held)
local free = math.max(0, permitted - apart * share)

-- 5. The callers' accounts. A new day empties them. A change counts once, like the report that contains it.

local accounts = 0
if sign_of_life and ARGV[16] ~= '-' then
  if whole(read('HGET', KEYS[3], ' day'), 0, latest_day) ~= day or redis.call('HLEN', KEYS[3]) > MOST_CALLERS + 1 then
    redis.call('DEL', KEYS[3])
    redis.call('HSET', KEYS[3], ' day', text(day))
  end
  local function account(value)
    local calls, drawn_until = string.match(#value <= 40 and value or '', '^(%S+) (%S+)$')
    if not calls then refused = refused + 1 end
    return whole(calls, 0, most_calls), whole(drawn_until, 0, DAY)
  end
  for kind, caller, calls, drawn, from in string.gmatch(ARGV[16], '(%S+) (%S+) (%S+) (%S+) (%S+)') do
    local value = redis.call('HGET', KEYS[3], caller)
    local known_calls, known_until = account(value or '0 0')
    known_calls, known_until = known_calls or 0, known_until or 0
    calls, drawn, from = tonumber(calls), tonumber(drawn), tonumber(from)
    if kind == '=' then
      known_calls, known_until = math.max(known_calls, calls), math.max(known_until, drawn)
    elseif is_new_report then
      known_calls = math.min(most_calls, math.max(0, known_calls + calls))
      if drawn ~= 0 then known_until = math.min(DAY, math.max(0, math.max(known_until, from) + drawn)) end
    end
    if known_day == day and (value or redis.call('HLEN', KEYS[3]) <= MOST_CALLERS) then
      redis.call('HSET', KEYS[3], caller, text(known_calls) .. ' ' .. text(known_until))
    end
  end
  if op == 'beat' then
    accounts = {}
    local all = redis.call('HGETALL', KEYS[3])
    for i = 1, #all, 2 do
      if all[i] ~= ' day' then
        local calls, drawn_until = account(all[i + 1])
        if calls and drawn_until and #all[i] <= LONGEST_CALLER and string.find(all[i], '^[%w%.%-_]+$') then
          table.insert(accounts, all[i])
          table.insert(accounts, calls)
          table.insert(accounts, drawn_until)
        else
          redis.call('HDEL', KEYS[3], all[i])
        end
      end
    end
  end
  -- Until this replica has sent its accounts, the list may lack calls, so the replica is asked for its accounts
  -- instead.
  if forgetful and comes_first then accounts = -1 end
end

-- 6. The op.

local verdict, at, why = OK, 0, NOTHING

if op == 'permit' then
  local spacing = free > 0 and math.ceil(SECOND / free) or 0
  -- 17 expected time until the reply arrives. A slot that is over before the reply arrives would be lost.
  local slot = math.max(next_at, now + math.min(tonumber(ARGV[17]), AHEAD / 2))
  if math.max(cool_second, cool_day) > now then
    verdict, at = NOT_BEFORE, math.max(cool_second, cool_day)
    why = cool_day >= cool_second and COOL_DAY or COOL_SECOND
  elseif base + used >= per_day then
    verdict, at, why = NOT_BEFORE, (day + 1) * DAY, SPENT
  elseif free == 0 then
    verdict, at, why = NOT_BEFORE, now + 100000, RATE
  elseif slot - now > math.max(AHEAD, live * spacing) then
    -- With this bound, each replica can hold one slot, even if few calls a second are permitted.
    verdict, at, why = NOT_BEFORE, slot - AHEAD, RATE
  else
    verdict, at = PERMIT, slot
    next_at = slot + spacing
    used = used + 1
  end
elseif op == 'give_back' then
  if tonumber(ARGV[17]) == day then used = math.max(-base, used - 1) end
elseif op == 'left' then
  -- Zoom's count is used only if the call was made today, and not just after midnight, when Zoom may still report
  -- yesterday's count.
  local left, called = tonumber(ARGV[17]), now - tonumber(ARGV[18])
  if math.floor(called / DAY) == day and called % DAY >= DAY_HAS_TURNED then
    local more = math.max(0, per_day - left - base - used)
    used, taken = used + more, taken + more
  end
elseif op == 'cool' then
  local ends = math.min(now + tonumber(ARGV[18]), until_at_most(ARGV[17]))
  if ARGV[17] == 'second' then cool_second = math.max(cool_second, ends) else cool_day = math.max(cool_day, ends) end
  redis.call('PUBLISH', ARGV[19], table.concat({'cool', ARGV[17], text(ends), ARGV[20]}, ' '))
elseif op == 'leave' then
  redis.call('HDEL', KEYS[2], me)
end

redis.call('HSET', KEYS[1], 'run', ARGV[3], 'now', text(now), 'fresh', text(fresh), 'empty', text(empty),
  'next', text(next_at), 'day', text(day), 'base', text(base), 'used', text(used), 'taken', text(taken),
  'cool_second', text(cool_second), 'cool_day', text(cool_day))

return {verdict, now, at, why, day, base + used, taken, cool_second, cool_day, math.min(demand, MOST), live, free,
  math.min(wishes, MOST), purge or 0, refused, accounts}
