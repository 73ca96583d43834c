-- take_transfer counts bytes against the job's --max-transfer: set aside before a file, and settled after it.
-- ARGV: 1 unit, 2 fence, 3 limit, 4 bytes to set aside, 5 bytes set aside before that are settled now, 6 how many of
--       them were read
-- Result: 1 done, 0 the limit doesn't allow it, -1 lost
if not owns(ARGV[1], ARGV[2]) then return -1 end
local take, settle, read = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local have = tonumber(redis.call('HGET', job, 'transferred') or '0')
if take > 0 and have + take > tonumber(ARGV[3]) then return 0 end
redis.call('HINCRBY', job, 'transferred', num(take - settle + read))
redis.call('HINCRBY', job, 'open:' .. ARGV[1], num(take - settle))
return 1
