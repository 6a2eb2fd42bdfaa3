-- Claims and records, ordered by fencing numbers.
--
-- A claim is a lease on fetching one meeting; a record is what was fetched. Every claim gets a fencing number: the server's
-- time in microseconds, or one more than every number known here, if that is larger. So numbers keep growing even if the
-- server loses everything. A record carries the number of its claim, and only a larger number replaces it.
--
-- Example: replica A claims at time 1000000 and gets that number, then stands still, as a suspended machine does. At time
-- 5000000 A has sent no heartbeat for more than 3 s, so B's claim is granted with number 5000000. B stores its record and
-- serves it. When A wakes and stores what it fetched 4 s ago, 1000000 < 5000000: A gets 'superseded', and nobody sees the
-- meeting go back in time.
--
-- A purge takes a number of the same sequence (purge.lua). If one comes at 2000000, A gets 'purged', because its
-- claim is older than the purge; B's record, with its larger number, counts.
--
-- KEYS  1 last fencing number   2 claim (hash: o owner, f number, a attempt)   3 record (hash: f number, d bytes)   4 members
--       5 quota   6 number of the last purge
-- ARGV  1 operation, 2 … its arguments, listed at each operation
-- Returns the result, a number, how many values read were out of bounds, and the bytes of a record.

local LEASE = 3000000   -- a claim is free this long after its owner's last heartbeat
local SEEN_AHEAD = 1000000   -- how far ahead a past time may lie, as the server's clock may be set back

local op = ARGV[1]
local function answer(result, number, bytes) return {result, number, refused, bytes or false} end

local function purged() return math.max(fence_in(KEYS[5], 'purged_all'), fence_in(KEYS[6])) end

local function record_number()
  local value = read('HMGET', KEYS[3], 'f')[1]
  local number = whole(value, 0, now + AHEAD_AT_MOST)
  if is_wrong(value, number) then redis.call('DEL', KEYS[3]) end
  return number or 0
end

-- Owner and number; no owner: there is no claim.
local function claim()
  local fields = read('HMGET', KEYS[2], 'o', 'f')
  local number = whole(fields[2], 0, now + AHEAD_AT_MOST)
  if is_wrong(fields[2], number) then redis.call('DEL', KEYS[2]) end
  return number and fields[1], number or 0
end

-- A record larger than any replica writes is deleted here rather than sent.
local function delete_if_too_large(bytes, most)
  if bytes <= most then return false end
  redis.call('DEL', KEYS[3])
  return true
end

if op == 'look' then
  -- 2 most bytes of a record
  local number = record_number()
  if number <= fence_in(KEYS[5], 'purged_all') then return answer('none', 0) end
  if delete_if_too_large(redis.call('HSTRLEN', KEYS[3], 'd'), tonumber(ARGV[2])) then return answer('too_large', 0) end
  return answer('found', number, redis.call('HMGET', KEYS[3], 'd')[1])
elseif op == 'get_unclaimed' then
  -- Here the key itself is the record.   2 most bytes   3 milliseconds to keep it from now on
  if delete_if_too_large(read('STRLEN', KEYS[3]), tonumber(ARGV[2])) then return answer('too_large', purged()) end
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
  return answer('found', purged(), redis.call('GET', KEYS[3]))
elseif op == 'claim' then
  -- 2 replica   3 number of the record that it knows   4 milliseconds until an unrenewed claim expires
  -- 5 deadline: a replica that gets its answer later does not use the claim, so it must not be granted
  -- 6 attempt: names this call, by which the replica gives the claim back if no answer came
  if now > tonumber(ARGV[5]) then return answer('late', 0) end
  local record, void = record_number(), purged()
  if record > tonumber(ARGV[3]) and record > void then return answer('recorded', record) end
  local owner, number = claim()
  if owner then
    local left = redis.call('PTTL', KEYS[2])
    if left < 0 or left > tonumber(ARGV[4]) then owner, refused = nil, refused + 1 end
  end
  -- A purge voids the claims before it, and a replica may replace its own: the answer to its last attempt was lost.
  if owner and owner ~= ARGV[2] and number > void then
    local member = read('HGET', KEYS[4], owner)
    local seen = whole(member and string.match(member, '^(%S+)'), 0, now + SEEN_AHEAD)
    if seen and now - seen <= LEASE then return answer('held', number) end
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
  -- 2 number   3 milliseconds to keep the record   4 its bytes   5 channel   6 name
  if is_held() then redis.call('DEL', KEYS[2]) end
  if purged() > fence then return answer('purged', 0) end
  local record = record_number()
  if record > fence then return answer('superseded', record) end
  redis.call('HSET', KEYS[3], 'f', text(fence), 'd', ARGV[4])
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
  redis.call('PUBLISH', ARGV[5], table.concat({'landed', ARGV[6], text(fence)}, ' '))
  return answer('stored', fence)
elseif op == 'release' then
  -- 2 number   3 channel   4 name   5 why there is no record
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
