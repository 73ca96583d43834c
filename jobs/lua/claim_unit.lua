-- claim_unit notes which unit of the job has waited longest for quota.
-- ARGV: 1 unit, 2 record (JSON)
-- Result: {1 done or 0 (the unit isn't open, or the job stands still for another reason), state}
local state = field('state')
local open = redis.call('ZSCORE', parked, ARGV[1]) or redis.call('ZSCORE', ready, ARGV[1]) or redis.call('ZSCORE', fed, ARGV[1])
if not open or not (runs(state) or state == 'waiting') then return {0, state} end
redis.call('HSET', job, 'claim', ARGV[2], 'claim_unit', ARGV[1])
return {1, state}
