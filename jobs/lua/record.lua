-- record stores outcomes of a batch and counts them.
-- KEYS: 11 outcomes of the batch (hash index -> JSON); then the marks of the kinds that these outcomes are of (bits by
--       the number of the batch)
-- ARGV: 1 unit that holds the lease, 2 fence, 3 number of this record among those of the claim,
--       4 the record before it, '' for none, 5 number of the batch, 6 number of counters; then counter, change, ...;
--       then index, JSON, ...
-- Result: {1 or 0 (lost, or the record before it is), state}
local state = field('state')
if not owns(ARGV[1], ARGV[2]) then return {0, state} end
-- A call whose answer was lost is sent again by the client: it must not count twice.
if redis.call('HGET', job, 'last:' .. ARGV[1]) == ARGV[3] then return {1, state} end
if not recorded(ARGV[1], ARGV[4]) then return {0, state} end
redis.call('HSET', job, 'last:' .. ARGV[1], ARGV[3])
local last = 6 + 2 * tonumber(ARGV[6])
for i = 7, last, 2 do redis.call('HINCRBY', job, ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV, 2 do redis.call('HSET', KEYS[11], ARGV[i], ARGV[i + 1]) end
for i = 12, #KEYS do -- as a rule it is marked already
  if redis.call('GETBIT', KEYS[i], ARGV[5]) == 0 then redis.call('SETBIT', KEYS[i], ARGV[5], 1) end
end
return {1, state}
