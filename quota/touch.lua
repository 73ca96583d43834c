-- touch.lua: renews a pool's lease, books what it wasted since the last time, and takes back what it doesn't need.
--
-- KEYS and ARGV 1 to 8: see common.lua
-- ARGV: 9 pool  10 granted, as the caller knows it  11 charged, the same  12 bytes to take back, at most granted - charged
--       13 wasted, the pool's total  14 lease in milliseconds  15 '1' where bytes charged ahead were read since the last call
-- Result: {'ok', granted, charged}  the totals now
--         {'differs', granted, charged}  the pool's true totals aren't the given ones
--         {'lost'}  the pool was closed by others
--         {'moved', ...}
-- It writes nothing unless it answers 'ok'.

local id, granted, charged = ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])
local back, wasted, lease = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])

local now = clock()
local a = view(now)
if not a then return dump('moved', now) end

local p = pool(id)
if not p then return { 'lost' } end
if p.granted ~= granted or p.charged ~= charged or back > granted - charged then
  return { 'differs', int(p.granted), int(p.charged) }
end

open(a)
if back > 0 then
  redis.call('HINCRBY', ACCOUNT, 'reserved', int(-back))
  p.granted = p.granted - back
end
if ARGV[15] == '1' then -- a slow line: the next charge may be far
  work(a, now)
  redis.call('HSET', ACCOUNT, 'last', int(now))
end
waste(a, p, wasted)
save(id, p, now + lease)
return { 'ok', int(p.granted), int(p.charged) }
