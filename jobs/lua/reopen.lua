-- reopen makes an ended batch ready again, with the outcomes that are to be kept.
-- KEYS: 11 outcomes of the batch (hash), 12 outcomes of the ended batch (string)
-- ARGV: 1 unit, 2 number of counters; then counter, change, ...; then index, JSON, ...
-- Result: {1 done or 0 (not ended), state}
local state = field('state')
if redis.call('EXISTS', KEYS[12]) == 0 then return {0, state} end
redis.call('DEL', KEYS[11], KEYS[12])
local last = 2 + 2 * tonumber(ARGV[2])
for i = 3, last, 2 do redis.call('HINCRBY', job, ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV, 2 do redis.call('HSET', KEYS[11], ARGV[i], ARGV[i + 1]) end
redis.call('HINCRBY', job, 'open', 1)
make_ready(ARGV[1])
return {1, state}
