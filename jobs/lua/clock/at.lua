-- at puts a member into a set of times, some time from now on the server's clock.
-- KEYS: 1 zset  member -> ms since 1970 UTC, and more
-- ARGV: 1 ms from now, 2 member, 3 what is added to the time: a set may hold several ranges of times
-- Result: number of new members
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
return redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[1]) + tonumber(ARGV[3])), ARGV[2])
