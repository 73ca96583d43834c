-- unclaim.lua: drops a claim. For a minute it isn't taken up again: whoever renews it hasn't heard yet.
--
-- KEYS: see common.lua
-- ARGV: 1 claim
-- Result: 1

local now = clock()
redis.call('HSET', CLAIMS, ARGV[1], '0 ' .. int(now) .. ' ' .. int(now))
return 1
