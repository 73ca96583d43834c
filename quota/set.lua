-- set.lua: changes the account's settings and, with them, the end of the running period. A removed account's pools are
-- closed: what they charged stays used, what they hold is free.
--
-- KEYS: see common.lua
-- ARGV: 1 rev  2 start, both as the caller knows them ('' for none)  3 rev from now on: one that never was before, so
--         that nobody takes an old one for it, not even where Redis was restarted with an older append-only file
--       4 plan  5 limit  6 anchor  7 zone, the new settings, '' for the default  8 removed, '1' or ''
--       9 period  10 start  11 end  12 until, of the running period from now on, '' for none
-- Result: 1 done, 0 rev or start aren't the given ones: look again
-- It writes nothing unless it answers 1. A start other than the stored one begins a period, with nothing used.

local v = redis.call('HMGET', ACCOUNT, 'rev', 'start')
if (v[1] or '0') ~= ARGV[1] or (v[2] or '') ~= ARGV[2] then return 0 end

redis.call('HSET', ACCOUNT, 'rev', ARGV[3], 'plan', ARGV[4], 'limit', ARGV[5], 'anchor', ARGV[6], 'zone', ARGV[7])
if ARGV[10] ~= '' then
  redis.call('HSET', ACCOUNT, 'period', ARGV[9], 'start', ARGV[10], 'end', ARGV[11], 'until', ARGV[12])
  if ARGV[10] ~= ARGV[2] then redis.call('HSET', ACCOUNT, 'used', '0', 'wasted', '0') end
end
if ARGV[8] == '' then
  redis.call('HDEL', ACCOUNT, 'removed')
  return 1
end
redis.call('HSET', ACCOUNT, 'removed', ARGV[8], 'reserved', '0')
local now = clock()
for _, id in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
  bury(id, (pool(id) or { charged = 0 }).charged, now, CLOSED_BY_OTHERS)
end
return 1
