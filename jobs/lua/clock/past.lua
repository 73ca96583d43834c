-- past lists members of a set of times whose time has come on the server's clock, the earliest first.
-- KEYS: 1 zset  member -> ms since 1970 UTC, and more
-- ARGV: 1 how many at most, 2 what was added to the times that are asked for
-- Result: {member, ...}
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[2], string.format('%.0f', now + tonumber(ARGV[2])), 'LIMIT', 0, ARGV[1])
