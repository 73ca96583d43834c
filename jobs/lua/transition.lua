-- transition changes the state from outside: pause, resume, cancel, or the end of the finish.
-- ARGV: 1 states that it is allowed from, as "|queued|scanning|", 2 new state or 'resume', 3 by, 4 error or '',
--       5 unit that must be held, or '', 6 its fence
-- Result: {1 done, 0 not allowed or -1 lost, state}
local state = field('state')
if state == '' then return {-1, ''} end
if ARGV[5] ~= '' and not owns(ARGV[5], ARGV[6]) then return {-1, state} end
if not string.find(ARGV[1], '|' .. state .. '|', 1, true) then return {0, state} end
local to = ARGV[2]
if to == 'resume' then
  to = resumed()
  redis.call('HDEL', job, 'patience')
  gather()
end
if to == 'paused' or to == 'canceled' or to == 'failed' then unclaim() end
if ARGV[5] ~= '' then
  drop(ARGV[5])
  if to == 'failed' then make_ready(ARGV[5]) end -- for a retry
end
move(state, to, '', '', ARGV[4], ARGV[3])
if ARGV[2] == 'resume' then advance(ARGV[3]) end
return {1, field('state')}
