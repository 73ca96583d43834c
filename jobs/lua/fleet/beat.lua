-- beat tells that a worker lives and what it does, and asks whether it is to take nothing new. Workers that weren't heard
-- of for long are forgotten.
-- KEYS, in one slot: 1 workers  zset  name -> ms since 1970 UTC until which the worker is believed to live
--                    2 info     hash  name -> JSON of what it does
--                    3 drain    hash  name -> '1'  workers that are to take nothing new
-- ARGV: 1 name, 2 JSON, 3 ms that it is believed for, 4 ms without a word after which a worker is forgotten
-- Result: 1 where the worker is to take nothing new, else 0
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local function num(n) return string.format('%.0f', n) end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', num(now - tonumber(ARGV[4])), 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[1], name)
  redis.call('HDEL', KEYS[2], name)
  redis.call('HDEL', KEYS[3], name)
end
redis.call('ZADD', KEYS[1], num(now + tonumber(ARGV[3])), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return redis.call('HEXISTS', KEYS[3], ARGV[1])
