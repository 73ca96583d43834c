-- charge counts what a turn costs beyond its base: what is expected, and in the end the difference from it.
-- ARGV: 1 account, 2 job, 3 time of the account and 4 of the job with that turn, 5 cost
-- Result: 1
local cost = tonumber(ARGV[5])
add(accounts, rest, '*', ARGV[1], tonumber(ARGV[3]), cost)
add(jobs_of(ARGV[1]), rest_of(ARGV[1]), ARGV[1], ARGV[2], tonumber(ARGV[4]), cost)
return 1
