-- rest asks all to leave a lane alone; of two requests the later end stands.
-- KEYS: 1 rest  string  until when, ms since 1970 UTC
-- ARGV: 1 until, ms since 1970 UTC, 2 ms until then
-- Result: until when the lane rests now
local was = redis.call('GET', KEYS[1])
if was and tonumber(was) >= tonumber(ARGV[1]) then return was end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
