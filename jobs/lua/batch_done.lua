-- batch_done ends a batch whose entries all have their outcome.
-- KEYS: 11 outcomes of the batch (hash), 12 outcomes of the ended batch (string)
-- ARGV: 1 unit, 2 fence, 3 worker, 4 outcomes (compressed), 5 the last record of the claim, '' for none
-- Result: {1 or 0 (lost, or records are), state}
local state = field('state')
if not owns(ARGV[1], ARGV[2]) or not recorded(ARGV[1], ARGV[5]) then return {0, state} end
drop(ARGV[1])
redis.call('HDEL', att, ARGV[1] .. ':claims')
redis.call('SET', KEYS[12], ARGV[4])
redis.call('DEL', KEYS[11])
redis.call('HINCRBY', job, 'open', -1)
redis.call('HDEL', job, 'refusals', 'patience')
if field('claim_unit') == ARGV[1] then unclaim() end
advance(ARGV[3])
return {1, field('state')}
