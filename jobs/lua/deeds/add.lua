-- add records a deed, numbered in the order in which they come, and drops the oldest.
-- KEYS: 1 deeds (zset, number -> "number ms JSON"), 2 the last number
-- ARGV: 1 the deed (JSON), 2 how many are kept
-- Result: the number
local clock = redis.call('TIME')
local ms = string.format('%.0f', tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000))
local n = redis.call('INCR', KEYS[2])
redis.call('ZADD', KEYS[1], n, n .. ' ' .. ms .. ' ' .. ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[2]))
return n
