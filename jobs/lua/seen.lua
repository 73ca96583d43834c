-- seen notes that a person has seen how the job ended badly. The mark holds the time of that end: after a retry it is of
-- another one, and counts no more. A worker of an earlier version overlooks it.
-- ARGV: 1 the end that was looked at, or '' for whichever it is
-- Result: {1 noted, 2 noted before, or 0 (it hasn't ended so, or has ended anew since), state}
local state, ended = field('state'), field('finished')
if state ~= 'completed_with_warnings' and state ~= 'failed' then return {0, state} end
if ARGV[1] ~= '' and ARGV[1] ~= ended then return {0, state} end
if field('seen') == ended then return {2, state} end
redis.call('HSET', job, 'seen', ended)
return {1, state}
