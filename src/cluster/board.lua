-- Who fetches what, and what was fetched: claims with fencing numbers, and records that a later number wins.
--
-- A fencing number is the server's time in microseconds, and always larger than the one before: it grows on through a
-- restart that forgot everything.
--
-- KEYS  1 fence   2 claim (hash: o owner, f number)   3 record (hash: f number, d bytes)   4 members   5 budget   6 purged
-- ARGV  1 op …
-- Gives what came of it, a number, how much was refused of what was read, and the bytes of a record

local LEASE = 3000000   -- so long after its owner was last heard of a claim is free
local SEEN_AHEAD = 1000000   -- so far ahead a time of the past may be, as clocks are set

local op = ARGV[1]
local function answer(what, number, bytes) return {what, number, refused, bytes or false} end

local function purged() return math.max(fence_in(KEYS[5], 'purged_all'), fence_in(KEYS[6])) end

local function record_number()
  local value = read('HMGET', KEYS[3], 'f')[1]
  local number = whole(value, 0, now + AHEAD_AT_MOST)
  if is_wrong(value, number) then redis.call('DEL', KEYS[3]) end
  return number or 0
end

-- Owner and number.
local function claim()
  local fields = read('HMGET', KEYS[2], 'o', 'f')
  local number = whole(fields[2], 0, now + AHEAD_AT_MOST)
  if is_wrong(fields[2], number) then redis.call('DEL', KEYS[2]) end
  return number and fields[1], number or 0
end

-- Larger than whatever is written: not sent to anybody.
local function is_too_large(bytes, most)
  if bytes <= most then return false end
  redis.call('DEL', KEYS[3])
  return true
end

if op == 'look' then
  -- 2 the most bytes
  local number = record_number()
  if number <= fence_in(KEYS[5], 'purged_all') then return answer('none', 0) end
  if is_too_large(redis.call('HSTRLEN', KEYS[3], 'd'), tonumber(ARGV[2])) then return answer('too_large', 0) end
  return answer('found', number, redis.call('HMGET', KEYS[3], 'd')[1])
elseif op == 'pick' then
  -- The record is the key itself.   2 the most bytes   3 milliseconds to keep it from now on
  if is_too_large(read('STRLEN', KEYS[3]), tonumber(ARGV[2])) then return answer('too_large', purged()) end
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
  return answer('found', purged(), redis.call('GET', KEYS[3]))
elseif op == 'claim' then
  -- 2 replica   3 number of the record that it knows   4 milliseconds until the claim is forgotten, come what may
  -- 5 deadline: who does not hear in time that the claim is theirs does nothing for it
  if now > tonumber(ARGV[5]) then return answer('late', 0) end
  local record, void = record_number(), purged()
  if record > tonumber(ARGV[3]) and record > void then return answer('landed', record) end
  local owner, number = claim()
  if owner then
    local left = redis.call('PTTL', KEYS[2])
    if left < 0 or left > tonumber(ARGV[4]) then owner, refused = nil, refused + 1 end
  end
  if owner and owner ~= ARGV[2] and number > void then
    local member = read('HGET', KEYS[4], owner)
    local seen = whole(member and string.match(member, '^(%S+)'), 0, now + SEEN_AHEAD)
    if seen and now - seen <= LEASE then return answer('held', number) end
  end
  local fence = math.max(now, fence_in(KEYS[1]) + 1, number + 1, record + 1, void + 1)
  redis.call('SET', KEYS[1], text(fence))
  redis.call('HSET', KEYS[2], 'o', ARGV[2], 'f', text(fence))
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
  return answer('yours', fence)
end

local fence = tonumber(ARGV[2])
local function ours()
  local _, number = claim()
  return number == fence
end

if op == 'renew' then
  -- 3 milliseconds
  if not ours() or purged() > fence then return answer('lost', 0) end
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
  return answer('yours', fence)
elseif op == 'put' then
  -- 3 milliseconds to keep it   4 bytes   5 channel   6 what it is of
  if ours() then redis.call('DEL', KEYS[2]) end
  if purged() > fence then return answer('purged', 0) end
  local record = record_number()
  if record > fence then return answer('older', record) end
  redis.call('HSET', KEYS[3], 'f', text(fence), 'd', ARGV[4])
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
  redis.call('PUBLISH', ARGV[5], table.concat({'landed', ARGV[6], text(fence)}, ' '))
  return answer('kept', fence)
elseif op == 'release' then
  -- 3 channel   4 what it is of   5 why there is nothing
  if not ours() then return answer('lost', 0) end
  redis.call('DEL', KEYS[2])
  redis.call('PUBLISH', ARGV[3], table.concat({'failed', ARGV[4], text(fence), ARGV[5]}, ' '))
  return answer('released', fence)
elseif op == 'disown' then
  -- 2 the largest number that it can have   3 replica   4 channel   5 what it is of
  local owner, number = claim()
  if owner ~= ARGV[3] or number > fence then return answer('lost', 0) end
  redis.call('DEL', KEYS[2])
  redis.call('PUBLISH', ARGV[4], table.concat({'failed', ARGV[5], text(number), ''}, ' '))
  return answer('released', number)
elseif op == 'forget' then
  if record_number() ~= fence then return answer('other', 0) end
  redis.call('DEL', KEYS[3])
  return answer('forgotten', fence)
end
return redis.error_reply('unknown op')
