-- too_new notes whether a job waits for a worker of a newer version than all that run.
-- ARGV: 1 '1' or ''
-- Result: {1, state}
local state = field('state')
if state ~= '' and ARGV[1] ~= field('too_new') then
  if ARGV[1] == '' then redis.call('HDEL', job, 'too_new') else redis.call('HSET', job, 'too_new', ARGV[1]) end
end
return {1, state}
