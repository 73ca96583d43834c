-- reserve.lua: sets bytes aside for a pool, and closes the account's pools whose lease has ended.
--
-- KEYS and ARGV 1 to 8: see common.lua
-- ARGV: 9 pool  10 granted, as the caller knows it  11 charged, the same  12 need  13 want (at least need)
--       14 limit, -1 for none  15 lease in milliseconds  16 claim of the pool's claimant, '' for none
--       17 size of the file that it is for: a claim on no more than that, or than the pool holds then, is granted
-- Result: {'ok', granted, charged}  the totals now: want bytes more where they fit, else need bytes more
--         {'full', available, end}  need bytes don't fit; the end of the period
--         {'differs', granted, charged}  the pool's true totals aren't the given ones
--         {'lost'}  the pool was closed by others
--         {'moved', ...}
-- It writes nothing unless it answers 'ok'.
-- Claims that go before the claimant's own keep their bytes from need, and those of all others keep them from want.

local id, granted, charged = ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])
local need, want, limit, lease = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15])
local claimant = ARGV[16]

local now = clock()
local a = view(now)
if not a then return dump('moved', now) end

local p = pool(id)
if not p then
  if granted > 0 then return { 'lost' } end
  p = { granted = 0, charged = 0, wasted = 0, period = 0 }
end
if p.granted ~= granted or p.charged ~= charged then return { 'differs', int(p.granted), int(p.charged) } end

local list, held = expired(now, id)
local size = want
if limit >= 0 then
  local available = limit - a.used - a.reserved + held
  local before, others = kept(a, limit, now, claimant)
  if available - before < need then return { 'full', int(math.max(available - before, 0)), int(a.fin) } end
  if available - others < want then size = need end
end

open(a)
expire(list, held, now, lease)
redis.call('HINCRBY', ACCOUNT, 'reserved', int(size))
p.granted = p.granted + size
save(id, p, now + lease)
if claimant ~= '' then
  local rec = redis.call('HGET', CLAIMS, claimant)
  local c = rec and claim(rec) or { need = 0 }
  if c.need > 0 and c.need <= math.max(tonumber(ARGV[17]), p.granted - p.charged) then
    redis.call('HSET', CLAIMS, claimant, '0 ' .. int(c.since) .. ' ' .. int(now))
  end
end
return { 'ok', int(p.granted), int(p.charged) }
