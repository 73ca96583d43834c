-- leave gives a turn back, if it is still one's own.
-- KEYS: 1 turn  string  token of who has the turn
-- ARGV: 1 token
-- Result: 1, or 0 where the turn was lost before
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1
