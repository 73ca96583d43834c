-- begin notes that a run begins, once for each time that a schedule is due, and when it is due next. Where a run of it is
-- under way still, the run is noted as skipped instead.
-- KEYS: 1 lead, 2 due (zset), 3 open (zset), 4 the schedule (hash), 5 its runs (list)
-- ARGV: 1 ID, 2 mark of the leader, '' for a run by hand, 3 mark of the definition, 4 ms when it was due, 5 ms when it is due
--       next or '', 6 the run (JSON), 7 the run as it is noted where it is skipped, 8 fence, 9 ms of its lease,
--       10 runs kept, 11 ms of the due time that the run is for, 12 '1' to note it as ended at once
-- Result: 1 begun, 0 it isn't to be run (another definition, another time, paused, removed, another leads), -1 skipped: one is
--         under way, 2 noted as ended
local by_clock = ARGV[2] ~= ''
if redis.call('HGET', KEYS[4], 'rev') ~= ARGV[3] then return 0 end
if by_clock then
  if redis.call('GET', KEYS[1]) ~= ARGV[2] then return 0 end
  if redis.call('HGET', KEYS[4], 'paused') == '1' or redis.call('HGET', KEYS[4], 'next') ~= ARGV[4] then return 0 end
end
local busy = redis.call('HEXISTS', KEYS[4], 'run') == 1
if not by_clock and busy then return -1 end
if by_clock then
  plan(KEYS[4], KEYS[2], ARGV[1], ARGV[5])
  redis.call('HSET', KEYS[4], 'ran', ARGV[11])
end
if ARGV[12] == '1' then
  push(KEYS[5], ARGV[6], ARGV[10])
  return 2
end
if busy then
  push(KEYS[5], ARGV[7], ARGV[10])
  return -1
end
redis.call('HSET', KEYS[4], 'run', ARGV[6], 'fence', ARGV[8])
redis.call('ZADD', KEYS[3], num(now + tonumber(ARGV[9])), ARGV[1])
return 1
