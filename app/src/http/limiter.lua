-- The buckets of several users or addresses, for all instances. The time is the server's.
-- KEYS: a hash for each: tokens, time of the last refill
-- ARGV: tokens per second, most tokens, and what was taken from each since the last call
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local rate, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local left = {}
for i, key in ipairs(KEYS) do
    local known = redis.call('HMGET', key, 'tokens', 'time')
    local tokens, last = tonumber(known[1] or most), tonumber(known[2] or now)
    tokens = math.min(most, tokens + math.max(0, now - last) * rate)
    -- What was granted is granted: below zero it is a debt, though not without end.
    tokens = math.max(-most, tokens - tonumber(ARGV[2 + i]))
    redis.call('HSET', key, 'tokens', tostring(tokens), 'time', tostring(now))
    redis.call('EXPIRE', key, 10)
    left[i] = tostring(tokens)
end
return left
