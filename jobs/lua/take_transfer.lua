-- take_transfer counts bytes against the job's --max-transfer; a negative number gives them back.
-- ARGV: 1 bytes, 2 limit
-- Result: 1 allowed, 0 not
local have = tonumber(redis.call('HGET', job, 'transferred') or '0')
if tonumber(ARGV[1]) > 0 and have + tonumber(ARGV[1]) > tonumber(ARGV[2]) then return 0 end
redis.call('HINCRBY', job, 'transferred', ARGV[1])
return 1
