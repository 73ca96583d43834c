-- resign gives up the lead.
-- KEYS: 1 lead
-- ARGV: 1 mark
-- Result: 1 given up, 0 another leads
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
