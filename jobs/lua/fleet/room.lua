-- room notes whether a worker has room for more work, and tells how many others have.
-- KEYS: 1 room zset  worker -> ms until which its word holds
-- ARGV: 1 worker, 2 ms for which its word holds, '0' where it has no room
-- Result: how many others have room
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
if ARGV[2] == '0' then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return redis.call('ZCARD', KEYS[1])
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
return redis.call('ZCARD', KEYS[1]) - 1
