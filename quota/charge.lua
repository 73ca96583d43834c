-- charge.lua: books bytes that a pool holds as used, before they are read.
--
-- KEYS and ARGV 1 to 8: see common.lua
-- ARGV: 9 pool  10 granted, as the caller knows it  11 charged, the same  12 bytes, at most granted - charged
--       13 lease in milliseconds  14 limit, -1 for none
-- Result: {'ok', granted, charged, percent}  the totals now; percent of the limit that was reached and wasn't told yet,
--           80 or 100, else 0
--         {'differs', granted, charged}  the pool's true totals aren't the given ones
--         {'lost'}  the pool was closed by others
--         {'moved', ...}
-- It writes nothing unless it answers 'ok'.

local id, granted, charged = ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])
local bytes, lease, limit = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])

local now = clock()
local a = view(now)
if not a then return dump('moved', now) end

local p = pool(id)
if not p then return { 'lost' } end
if p.granted ~= granted or p.charged ~= charged or bytes > granted - charged then
  return { 'differs', int(p.granted), int(p.charged) }
end

open(a)
a.used = a.used + bytes
redis.call('HSET', ACCOUNT, 'reserved', int(a.reserved - bytes), 'used', int(a.used), 'last', int(now))
if p.charged == 0 then
  p.period = a.start
elseif p.period ~= a.start then
  p.period = 0
end
p.charged = p.charged + bytes
save(id, p, now + lease)

local percent = 0
if limit > 0 and a.used >= limit * 0.8 then
  percent = a.used >= limit and 100 or 80
  if not tell(a, limit, now, percent) then percent = 0 end
end

work(a, now)
-- The first bytes of a day make room for it.
if redis.call('HINCRBY', DAYS, ARGV[2] .. ' used', int(bytes)) == bytes then
  local seen, list = {}, {}
  for _, field in ipairs(redis.call('HKEYS', DAYS)) do
    local day = string.sub(field, 1, 10)
    if not seen[day] then
      seen[day] = true
      list[#list + 1] = day
    end
  end
  table.sort(list)
  for i = 1, #list - KEPT_DAYS do
    redis.call('HDEL', DAYS, list[i] .. ' used', list[i] .. ' wasted', list[i] .. ' busy')
  end
end
return { 'ok', int(p.granted), int(p.charged), int(percent) }
