-- Runs after checks.lua, which defines now, text, read, whole, fence_in, is_wrong and refused.
--
-- Claims and records, ordered by fencing numbers.
--
-- A claim is a lease on fetching one meeting. A record is the result. Every claim gets a fencing number: the server's
-- time in microseconds or, if that is larger, the largest stored number plus one. Numbers therefore keep growing even
-- if the server loses everything, as long as its clock does not go back. A record has the number of its claim, and a
-- record with a smaller number does not replace it.
--
-- Example: replica A claims at time 1000000, gets that number, and is then suspended with its machine. At time 5000000, A
-- has sent no heartbeat for more than 3 s, so B's claim is granted with number 5000000. B stores its record and serves it.
-- Then A resumes and tries to store what it fetched 4 s ago. Because 1000000 < 5000000, A gets 'superseded', and does not
-- cache the older snapshot.
--
-- A purge takes its number from the same sequence (purge.lua). A purge at 2000000 is later than A's claim, so A gets 'purged'. B's
-- record has a larger number and stays.
--
-- KEYS  1 last fencing number   2 claim (hash: o owner, f number, a attempt)   3 record (hash: f number, d bytes)   4 members
--       (hash: replica -> its last heartbeat, and more; see quota.lua)   5 quota (hash)   6 number of the last purge
-- ARGV  1 operation, 2 … its arguments, listed at each operation
-- Returns the result, a number, how many values were out of bounds, and the bytes of a record.

local DEAD_AFTER = 3000000   -- a claim is free this long after its owner's last heartbeat
local SEEN_AHEAD = 1000000   -- how far ahead of now a heartbeat may lie, because the server's clock may be set back

local op = ARGV[1]
local function answer(result, number, bytes) return {result, number, refused, bytes or false} end

local function purged() return math.max(fence_in(KEYS[5], 'purged_all'), fence_in(KEYS[6])) end

local function record_number()
  local value = read('HMGET', KEYS[3], 'f')[1]
  local number = whole(value, 0, now + AHEAD_AT_MOST)
  if is_wrong(value, number) then redis.call('DEL', KEYS[3]) end
  return number or 0
end

-- Returns the owner and the number of the claim; the owner is nil or false if there is no claim.
local function claim()
  local fields = read('HMGET', KEYS[2], 'o', 'f')
  local number = whole(fields[2], 0, now + AHEAD_AT_MOST)
  if is_wrong(fields[2], number) then redis.call('DEL', KEYS[2]) end
  return number and fields[1], number or 0
end

-- Deletes the record if it is larger than any that replicas write, so that it is not sent. Returns whether it was.
local function delete_if_too_large(bytes, most)
  if bytes <= most then return false end
  redis.call('DEL', KEYS[3])
  return true
end

if op == 'look' then
  -- 2 maximum size of a record, in bytes
  local number = record_number()
  if number <= fence_in(KEYS[5], 'purged_all') then return answer('none', 0) end
  if delete_if_too_large(redis.call('HSTRLEN', KEYS[3], 'd'), tonumber(ARGV[2])) then return answer('too_large', 0) end
  return answer('found', number, redis.call('HMGET', KEYS[3], 'd')[1])
elseif op == 'get_unclaimed' then
  -- The value of the key is the record, not a hash.   2 maximum size, in bytes   3 milliseconds to keep it from now on
  if delete_if_too_large(read('STRLEN', KEYS[3]), tonumber(ARGV[2])) then return answer('too_large', purged()) end
  -- After a purge, the record's life is not extended, because a record from before the purge has to expire before the
  -- purge is forgotten.
  if fence_in(KEYS[6]) == 0 then redis.call('PEXPIRE', KEYS[3], ARGV[3]) end
  return answer('found', purged(), redis.call('GET', KEYS[3]))
elseif op == 'claim' then
  -- 2 replica   3 number of the record that it has read   4 milliseconds until an unrenewed claim expires
  -- 5 deadline: after it, the replica ignores the reply, so the claim must not be granted   6 attempt: a name for this
  -- call, by which the replica can release the claim if the reply is lost
  if now > tonumber(ARGV[5]) then return answer('late', 0) end
  local record, void = record_number(), purged()
  if record > tonumber(ARGV[3]) and record > void then return answer('recorded', record) end
  local owner, number = claim()
  if owner then
    local left = redis.call('PTTL', KEYS[2])
    if left < 0 or left > tonumber(ARGV[4]) then owner, refused = nil, refused + 1 end
  end
  -- A purge ends all earlier claims. A replica may replace its own claim, for example because the reply to its last
  -- attempt was lost.
  if owner and owner ~= ARGV[2] and number > void then
    local member = read('HGET', KEYS[4], owner)
    local seen = whole(member and string.match(member, '^(%S+)'), 0, now + SEEN_AHEAD)
    if seen and now - seen <= DEAD_AFTER then return answer('held', number) end
  end
  local fence = math.max(now, fence_in(KEYS[1]) + 1, number + 1, record + 1, void + 1)
  redis.call('SET', KEYS[1], text(fence))
  redis.call('HSET', KEYS[2], 'o', ARGV[2], 'f', text(fence), 'a', ARGV[6])
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
  return answer('granted', fence)
end

local fence = tonumber(ARGV[2])
local function is_held()
  local _, number = claim()
  return number == fence
end

if op == 'renew' then
  -- 2 number   3 milliseconds
  if not is_held() or purged() > fence then return answer('lost', 0) end
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
  return answer('renewed', fence)
elseif op == 'put' then
  -- 2 number   3 milliseconds to keep the record   4 bytes of the record   5 channel   6 name
  if is_held() then redis.call('DEL', KEYS[2]) end
  if purged() > fence then return answer('purged', 0) end
  local record = record_number()
  if record > fence then return answer('superseded', record) end
  redis.call('HSET', KEYS[3], 'f', text(fence), 'd', ARGV[4])
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
  -- 'landed' is the word of Event::Recorded (events.rs), and 'failed' that of Event::Failed.
  redis.call('PUBLISH', ARGV[5], table.concat({'landed', ARGV[6], text(fence)}, ' '))
  return answer('stored', fence)
elseif op == 'release' then
  -- 2 number   3 channel   4 name   5 encoded failure
  if not is_held() then return answer('lost', 0) end
  redis.call('DEL', KEYS[2])
  redis.call('PUBLISH', ARGV[3], table.concat({'failed', ARGV[4], text(fence), ARGV[5]}, ' '))
  return answer('released', fence)
elseif op == 'disown' then
  -- 2 attempt   3 replica   4 channel   5 name
  local owner, number = claim()
  if owner ~= ARGV[3] or read('HMGET', KEYS[2], 'a')[1] ~= ARGV[2] then return answer('lost', 0) end
  redis.call('DEL', KEYS[2])
  redis.call('PUBLISH', ARGV[4], table.concat({'failed', ARGV[5], text(number), ''}, ' '))
  return answer('released', number)
elseif op == 'forget' then
  -- 2 number
  if record_number() ~= fence then return answer('other', 0) end
  redis.call('DEL', KEYS[3])
  return answer('forgotten', fence)
end
return redis.error_reply('unknown operation')
