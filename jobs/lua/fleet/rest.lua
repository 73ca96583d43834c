-- rest asks all to leave a lane alone; of two requests the later end stands.
-- KEYS: 1 rest  string  until when, ms since 1970 UTC on the server's clock; it ends by itself then
-- ARGV: 1 ms from now
-- Result: for how many ms the lane rests now
local left = redis.call('PTTL', KEYS[1])
if left >= tonumber(ARGV[1]) then return left end
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
redis.call('SET', KEYS[1], string.format('%.0f', now + tonumber(ARGV[1])), 'PX', ARGV[1])
return tonumber(ARGV[1])
