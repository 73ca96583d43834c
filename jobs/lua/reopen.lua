-- reopen makes an ended batch ready again, with the outcomes that are to be kept.
-- KEYS: 11 outcomes of the batch (hash), 12 outcomes of the ended batch (string); then the marks of the kinds that the
--       outcomes are of that are kept, and of those that the batch holds no more (bits by the number of the batch)
-- ARGV: 1 unit, 2 number of the batch, 3 how many kinds it holds, 4 number of counters; then counter, change, ...; then
--       index, JSON, ...
-- Result: {1 done or 0 (not ended), state}
local state = field('state')
if redis.call('EXISTS', KEYS[12]) == 0 then return {0, state} end
redis.call('DEL', KEYS[11], KEYS[12])
local last = 4 + 2 * tonumber(ARGV[4])
for i = 5, last, 2 do redis.call('HINCRBY', job, ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV, 2 do redis.call('HSET', KEYS[11], ARGV[i], ARGV[i + 1]) end
for i = 13, #KEYS do redis.call('SETBIT', KEYS[i], ARGV[2], i <= 12 + tonumber(ARGV[3]) and 1 or 0) end
redis.call('HINCRBY', job, 'open', 1)
make_ready(ARGV[1])
return {1, state}
