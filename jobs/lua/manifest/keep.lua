-- keep makes the blocks of a generation a job's manifest, unless another process has done so since.
-- KEYS: 1 hash  the manifest's fields: gen, header, summary, blocks, names, ...
-- ARGV: 1 generation that was there before, '' for none, 2 the new one, 3... field, value, ...
-- Result: 1 done, 0 another generation is there
if (redis.call('HGET', KEYS[1], 'gen') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'gen', ARGV[2], unpack(ARGV, 3))
return 1
