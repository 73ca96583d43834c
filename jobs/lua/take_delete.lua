-- take_delete counts a deletion against the job's --max-delete.
-- ARGV: 1 unit, 2 fence, 3 limit
-- Result: 1 allowed, 0 not, -1 lost
if not owns(ARGV[1], ARGV[2]) then return -1 end
if tonumber(redis.call('HGET', job, 'deletions') or '0') >= tonumber(ARGV[3]) then return 0 end
redis.call('HINCRBY', job, 'deletions', 1)
return 1
