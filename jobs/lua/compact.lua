-- compact replaces the outcomes of an ended batch, after the finish has changed some of them.
-- KEYS: 11 outcomes of the batch (hash), 12 outcomes of the ended batch (string)
-- ARGV: 1 unit, 2 fence, 3 outcomes (compressed), 4 the last record of the claim, '' for none
-- Result: {1 or 0 (lost, or records are), state}
local state = field('state')
if not owns(ARGV[1], ARGV[2]) or not recorded(ARGV[1], ARGV[4]) then return {0, state} end
redis.call('SET', KEYS[12], ARGV[3])
redis.call('DEL', KEYS[11])
return {1, state}
