-- put replaces the sealed text of one remote where it is still as the caller saw it.
-- KEYS: 1 hash of sealed texts, 2 counter of changes
-- ARGV: 1 name, 2 text as seen, '' for none, 3 new text, '' to remove it
-- Result: 1 done, 0 another was faster and nothing was written
local now = redis.call('HGET', KEYS[1], ARGV[1])
if (now or '') ~= ARGV[2] then return 0 end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
redis.call('INCR', KEYS[2])
return 1
