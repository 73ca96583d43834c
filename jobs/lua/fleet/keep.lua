-- keep extends the lease of a turn for the one who has it.
-- KEYS: 1 turn  string  token of who has the turn
-- ARGV: 1 token, 2 lease in ms
-- Result: 1, or 0 where the turn was lost
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
