-- settle ends a claim.
-- KEYS: 1 targets (hash, see subscribe)
-- ARGV: 1 target, 2 mark of the sender, 3 'sent', 'passed' (done with, without a message) or 'failed', 4 seq done with
-- Result: 1 done, 0 the claim is another's by now
local targets, name = KEYS[1], ARGV[1]
local clock = redis.call('TIME')
local now = string.format('%.0f', tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000))
local mark = string.match(redis.call('HGET', targets, name .. ':claim') or '', '^(.*)|%d+$')
if mark ~= ARGV[2] then return 0 end
redis.call('HDEL', targets, name .. ':claim')
if ARGV[3] == 'failed' then
  redis.call('HSETNX', targets, name .. ':failing', now)
  return 1
end
redis.call('HSET', targets, name .. ':at', ARGV[4])
if ARGV[3] == 'sent' then
  redis.call('HSET', targets, name .. ':sent', now)
  redis.call('HDEL', targets, name .. ':failing')
end
return 1
