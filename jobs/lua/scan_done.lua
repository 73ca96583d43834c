-- scan_done ends the scan; totals are final from then on.
-- ARGV: 1 fence, 2 worker, 3 excluded files, 4 excluded bytes, 5 folders that couldn't be listed, 6 what was wrong,
--       7 batches that it stored
-- Result: {1 or 0 (lost, or batches are: the scan has to look again), state}
local state = field('state')
if not owns('scan', ARGV[1]) or field('batches') ~= ARGV[7] then return {0, state} end
drop('scan')
redis.call('HDEL', att, 'scan:claims')
redis.call('HINCRBY', job, 'found', tonumber(ARGV[3]) - tonumber(redis.call('HGET', job, 'excluded') or '0'))
redis.call('HINCRBY', job, 'b_found', tonumber(ARGV[4]) - tonumber(redis.call('HGET', job, 'b_excluded') or '0'))
redis.call('HSET', job, 'scan_complete', '1', 'excluded', ARGV[3], 'b_excluded', ARGV[4], 'unlisted', ARGV[5],
  'scan_error', ARGV[6])
-- A job that waits says why; what was wrong with the scan is told at its end.
if state ~= 'waiting' then redis.call('HSET', job, 'error', ARGV[6]) end
if state == 'scanning' then
  move(state, 'transferring', '', '', '', ARGV[2])
  advance(ARGV[2])
end
return {1, field('state')}
