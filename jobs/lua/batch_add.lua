-- batch_add stores a batch that the scan has found.
-- KEYS: 11 the batch
-- ARGV: 1 fence of the scan, 2 number of the batch, 3 content, 4 order, 5 entries, 6 bytes
-- Result: {1 stored, 0 lost or -1 out of sequence, state}
local state = field('state')
if not owns('scan', ARGV[1]) then return {0, state} end
if field('batches') == ARGV[2] and redis.call('GET', KEYS[11]) == ARGV[3] then return {1, state} end -- sent again
if field('batches') ~= num(tonumber(ARGV[2]) - 1) then return {-1, state} end
redis.call('SET', KEYS[11], ARGV[3])
redis.call('HSET', job, 'batches', ARGV[2])
redis.call('HINCRBY', job, 'open', 1)
redis.call('HINCRBY', job, 'found', ARGV[5])
redis.call('HINCRBY', job, 'b_found', ARGV[6])
redis.call('ZADD', order, ARGV[4], 'b' .. ARGV[2])
make_ready('b' .. ARGV[2])
return {1, state}
