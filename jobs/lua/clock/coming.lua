-- coming lists members of a set of times whose time hasn't come on the server's clock, and drops those that are long past.
-- KEYS: 1 zset  member -> ms since 1970 UTC
-- ARGV: 1 ms after which a member is dropped
-- Result: {member, ...}
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - tonumber(ARGV[1])))
return redis.call('ZRANGEBYSCORE', KEYS[1], string.format('%.0f', now), '+inf')
