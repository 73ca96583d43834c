-- told notes up to where the history of a job was made news of, and the last wait that was.
-- ARGV: 1 number of lines, 2 "reason|progress|ms" of the wait, '' to leave it as it is
-- Result: 1 done, 0 no such job
if field('state') == '' then return 0 end
redis.call('HSET', job, 'told', ARGV[1])
if ARGV[2] ~= '' then redis.call('HSET', job, 'told_wait', ARGV[2]) end
return 1
