-- set.lua: changes the account's settings and, with them, the end of the running period.
--
-- KEYS: see common.lua
-- ARGV: 1 rev  2 start, both as the caller knows them ('' for none)
--       3 plan  4 limit  5 anchor  6 zone, the new settings, '' for the default
--       7 period  8 start  9 end  10 until, of the running period from now on, '' for none
-- Result: 1 done, 0 rev or start aren't the given ones: look again
-- It writes nothing unless it answers 1. A start other than the stored one begins a period, with nothing used.

local v = redis.call('HMGET', ACCOUNT, 'rev', 'start')
if (v[1] or '0') ~= ARGV[1] or (v[2] or '') ~= ARGV[2] then return 0 end

redis.call('HINCRBY', ACCOUNT, 'rev', 1)
redis.call('HSET', ACCOUNT, 'plan', ARGV[3], 'limit', ARGV[4], 'anchor', ARGV[5], 'zone', ARGV[6])
if ARGV[8] ~= '' then
  redis.call('HSET', ACCOUNT, 'period', ARGV[7], 'start', ARGV[8], 'end', ARGV[9], 'until', ARGV[10])
  if ARGV[8] ~= ARGV[2] then redis.call('HSET', ACCOUNT, 'used', '0', 'wasted', '0') end
end
return 1
