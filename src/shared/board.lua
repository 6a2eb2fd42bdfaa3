-- Who fetches what, and what was fetched: claims with fencing numbers, and records that a later number wins.
--
-- A fencing number is the server's time in microseconds, and always larger than the one before: it grows on through a
-- restart that forgot everything.
--
-- KEYS  1 fence   2 claim (hash: o owner, f number)   3 record (hash: f number, d bytes)   4 members   5 budget   6 purged
-- ARGV  1 op …

local LEASE = 3000000   -- so long after its owner was last heard of a claim is free

local op = ARGV[1]
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local function text(number) return string.format('%.0f', number) end

local function purged()
  local all, this = redis.call('HGET', KEYS[5], 'purged_all'), redis.call('GET', KEYS[6])
  return math.max(tonumber(all or '') or 0, tonumber(this or '') or 0)
end

if op == 'claim' then
  -- 2 replica   3 number of the record that it knows   4 milliseconds until the claim is forgotten, come what may
  -- 5 deadline: who does not hear in time that the claim is theirs does nothing for it
  if now > tonumber(ARGV[5]) then return {'late', 0} end
  local record = tonumber(redis.call('HGET', KEYS[3], 'f') or '') or 0
  local void = purged()
  if record > tonumber(ARGV[3]) and record > void then return {'landed', record} end
  local claim = redis.call('HMGET', KEYS[2], 'o', 'f')
  local number = tonumber(claim[2] or '') or 0
  if claim[1] and claim[1] ~= ARGV[2] and number > void then
    local owner = redis.call('HGET', KEYS[4], claim[1])
    local seen = owner and tonumber(string.match(owner, '^(%S+)')) or 0
    if now - seen <= LEASE then return {'held', number} end
  end
  local fence = math.max(now, (tonumber(redis.call('GET', KEYS[1]) or '') or 0) + 1, number + 1, record + 1, void + 1)
  redis.call('SET', KEYS[1], text(fence))
  redis.call('HSET', KEYS[2], 'o', ARGV[2], 'f', text(fence))
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
  return {'yours', fence}
end

local fence = tonumber(ARGV[2])
local function ours() return tonumber(redis.call('HGET', KEYS[2], 'f') or '') == fence end

if op == 'renew' then
  -- 3 milliseconds
  if not ours() or purged() > fence then return {'lost', 0} end
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
  return {'yours', fence}
elseif op == 'put' then
  -- 3 milliseconds to keep it   4 bytes   5 channel   6 what it is of
  if ours() then redis.call('DEL', KEYS[2]) end
  if purged() > fence then return {'purged', 0} end
  local record = tonumber(redis.call('HGET', KEYS[3], 'f') or '') or 0
  if record > fence then return {'older', record} end
  redis.call('HSET', KEYS[3], 'f', text(fence), 'd', ARGV[4])
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
  redis.call('PUBLISH', ARGV[5], table.concat({'landed', ARGV[6], text(fence)}, ' '))
  return {'kept', fence}
elseif op == 'release' then
  -- 3 channel   4 what it is of   5 why there is nothing
  if not ours() then return {'lost', 0} end
  redis.call('DEL', KEYS[2])
  redis.call('PUBLISH', ARGV[3], table.concat({'failed', ARGV[4], text(fence), ARGV[5]}, ' '))
  return {'released', fence}
elseif op == 'disown' then
  -- 2 the largest number that it can have   3 replica   4 channel   5 what it is of
  local claim = redis.call('HMGET', KEYS[2], 'o', 'f')
  local number = tonumber(claim[2] or '') or 0
  if claim[1] ~= ARGV[3] or number > fence then return {'lost', 0} end
  redis.call('DEL', KEYS[2])
  redis.call('PUBLISH', ARGV[4], table.concat({'failed', ARGV[5], text(number), ''}, ' '))
  return {'released', number}
elseif op == 'forget' then
  if tonumber(redis.call('HGET', KEYS[3], 'f') or '') ~= fence then return {'other', 0} end
  redis.call('DEL', KEYS[3])
  return {'forgotten', fence}
end
return redis.error_reply('unknown op')
