-- pace takes a slice of a bandwidth. The bucket is a clock of its own: it tells until when the bandwidth is given away,
-- and a slice moves it on by the time that its bytes take at the rate of whoever asks. So nothing has to be done when the
-- rate changes. What isn't asked for is lost, but for a short burst.
-- KEYS: 1 bucket  string  until when the bandwidth is given away, us since 1970 UTC
-- ARGV: 1 us that the slice takes, 2 us of burst, 3 us that may be given away ahead
-- Result: {1, us until the slice may be used}, or {0, us after which to ask again}
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local cost, burst, ahead = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local till = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now - burst)
-- Further ahead than anybody can have come: the clock was put back.
if till - now > 10 * ahead then till = now end
if till - now > ahead then return {0, till - now - ahead} end
till = till + cost
redis.call('SET', KEYS[1], string.format('%.0f', till), 'PX', string.format('%.0f', math.ceil((till - now + burst) / 1000) + 1000))
return {1, math.max(0, till - now)}
