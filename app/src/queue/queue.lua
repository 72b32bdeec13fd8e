-- The waiting queue of one event. All keys share the hash tag {event}; the time is the server's.
-- KEYS: 1 waiting  sorted set: user by place. Below 1: drawn by lot before the sale opened; above: in order of arrival
--       2 inside   sorted set: user by the millisecond at which the place is lost
--       3 bucket   hash: tokens, time of the last refill, admission rate and what it is made from, arrivals,
--                  who came for the pass
-- ARGV: 1 command, 2 user
local waiting, inside, bucket = unpack(KEYS)
local command, user = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', inside, '-inf', now)) do
    redis.call('ZREM', inside, gone)
    redis.call('HDEL', bucket, 'fetched:' .. gone)
end

-- Redis drops nothing by itself: what nobody has needed for a week goes. While people are let in that is never so.
local week = 7 * 24 * 3600
local function last_a_week()
    for _, key in ipairs(KEYS) do
        if redis.call('TTL', key) < week - 3600 then redis.call('EXPIRE', key, week) end
    end
end

local function state()
    local ends = redis.call('ZSCORE', inside, user)
    local rate = redis.call('HGET', bucket, 'rate') or '0'
    if ends then return {'inside', 0, tonumber(ends), rate} end
    local rank = redis.call('ZRANK', waiting, user)
    if rank then return {'waiting', rank, 0, rate} end
    return {'absent', 0, 0, rate}
end

-- ARGV: 3 a random number in (0, 1), 4 the millisecond at which the sale opens (0: has no fixed beginning),
--       5 the millisecond at which the event begins: nobody is let in any more
if command == 'enter' then
    if now >= tonumber(ARGV[5]) then return {'over', 0, 0, '0'} end
    local known = state()
    if known[1] ~= 'absent' then return known end
    local opens = tonumber(ARGV[4])
    local place = ARGV[3]
    if now >= opens then place = redis.call('HINCRBY', bucket, 'arrivals', 1) end
    redis.call('ZADD', waiting, 'NX', place, user)
    last_a_week()
    return state()
end

-- ARGV: 3 how long the place inside lasts from now on, in milliseconds (0: as it is)
if command == 'state' then
    local lasts = tonumber(ARGV[3])
    local known = state()
    -- Whoever comes for the pass gets the whole time; a place nobody comes for is lost soon.
    if known[1] == 'inside' and lasts > 0 and redis.call('HSETNX', bucket, 'fetched:' .. user, now) == 1 then
        redis.call('ZADD', inside, now + lasts, user)
        last_a_week()
        known[3] = now + lasts
    end
    return known
end

if command == 'leave' then
    redis.call('HDEL', bucket, 'fetched:' .. user)
    local gone = redis.call('ZREM', inside, user) + redis.call('ZREM', waiting, user)
    return {gone > 0 and 'left' or 'absent', 0, 0, '0'}
end

if command == 'counts' then
    local rate = redis.call('HGET', bucket, 'rate') or '0'
    return {'counts', redis.call('ZCARD', waiting), redis.call('ZCARD', inside), rate}
end

-- ARGV: 3 admissions per second, 4 maximum inside, 5 milliseconds to fetch the pass, 6 opening millisecond
if command == 'admit' then
    local per_second, most, fetch, opens = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
    local last = tonumber(redis.call('HGET', bucket, 'time') or now)
    local elapsed = math.max(0, now - last) / 1000
    local tokens = tonumber(redis.call('HGET', bucket, 'tokens') or '0')
    tokens = math.min(tokens + elapsed * per_second, math.max(1, per_second))
    local count, admitted = 0, {}
    if now >= opens then
        local free = most - redis.call('ZCARD', inside)
        count = math.max(0, math.min(math.floor(tokens), free, 1000))
        local first = redis.call('ZPOPMIN', waiting, count)
        count = #first / 2
        for i = 1, #first, 2 do
            table.insert(admitted, first[i])
            redis.call('HDEL', bucket, 'fetched:' .. first[i])
            redis.call('ZADD', inside, now + fetch, first[i])
        end
        tokens = tokens - count
    end
    local left = redis.call('ZCARD', waiting)
    -- A moving average over half a minute, for the estimates. Only while somebody is left waiting does it tell how fast
    -- people can get in; and the weights of what was seen are kept, so that the first second of a crowd already tells it.
    local keep = math.exp(-elapsed / 30)
    local sum = tonumber(redis.call('HGET', bucket, 'sum') or '0') * keep
    local seen = tonumber(redis.call('HGET', bucket, 'seen') or '0') * keep
    -- In a longer pause than this nobody let people in at all.
    if now >= opens and left > 0 and elapsed > 0 and elapsed < 5 then
        sum = sum + (1 - keep) * count / elapsed
        seen = seen + 1 - keep
    end
    -- What the bucket had saved up lets people in faster, but only at first.
    local rate = seen > 1e-6 and math.min(per_second, sum / seen) or 0
    redis.call('HSET', bucket, 'tokens', tostring(tokens), 'time', now, 'rate', tostring(rate), 'sum', tostring(sum),
        'seen', tostring(seen))
    last_a_week()
    return {admitted, left}
end

return redis.error_reply('unknown command')
