-- leave gives a turn back, if it is still one's own, and the place of one who waits no more.
-- KEYS: 1 turn  string  token of who has the turn
--       2 line  zset    tokens of those who wait, by when they came
--       3 waits zset    the same, see take
-- ARGV: 1 token
-- Result: 1, or 0 where the turn wasn't the token's any more
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1
