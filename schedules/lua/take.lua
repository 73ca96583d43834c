-- take gives a run that nobody looks after any more to another process.
-- KEYS: 1 open (zset), 2 the schedule (hash)
-- ARGV: 1 ID, 2 fence, 3 ms of its lease
-- Result: {} where there is none such, else {run (JSON), definition (JSON), mark of the definition, last run with jobs or ''}
local till = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '')
local run = redis.call('HGET', KEYS[2], 'run')
if not till then return {} end
if not run then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return {}
end
local lasts = tonumber(ARGV[3])
if till > now and till <= now + lasts then return {} end
redis.call('HSET', KEYS[2], 'fence', ARGV[2])
redis.call('ZADD', KEYS[1], num(now + lasts), ARGV[1])
return {run, redis.call('HGET', KEYS[2], 'def'), redis.call('HGET', KEYS[2], 'rev'), redis.call('HGET', KEYS[2], 'last') or ''}
