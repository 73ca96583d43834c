-- join puts a job into the ring: something was sent for it. It is called after the units were made ready to be claimed
-- and before their tasks are sent, so that whoever gets a task finds the job.
-- ARGV: 1 account, 2 job, 3 tasks that won't be sent now, since the queue has plenty
-- Result: 1
redis.call('HSET', turn, ARGV[2], redis.call('HINCRBY', clock, '#', 1))
enter(accounts, rest, '*', ARGV[1])
enter(jobs_of(ARGV[1]), rest_of(ARGV[1]), ARGV[1], ARGV[2])
if ARGV[3] ~= '0' then redis.call('INCRBY', owed, ARGV[3]) end
return 1
