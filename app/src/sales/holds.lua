-- Holds of one event. All keys share the hash tag {event}; the time is the server's, so that one clock counts.
-- KEYS: 1 seats    hash: seat -> holding id, or 'sold'
--       2 holds    hash: holding id -> user|quantity|fence|seat,seat,...
--       3 expiry   sorted set: holding id by the millisecond at which it ends
--       4 users    hash: user -> tickets held; ' all' (no user's name has a space) -> tickets held by all
--       5 fence    the last fencing number given
--       6 ready    exists once the sold seats are marked in `seats`
--       7 version  the event's version, see versions.rs
--       8 freed    how often seats of the event were freed
local seats, holds, expiry, users, fence, ready, version, freed = unpack(KEYS)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local command = ARGV[1]

local function read(id)
    local text = redis.call('HGET', holds, id)
    if not text then return nil end
    local user, quantity, number, list = string.match(text, '^(.*)|(%d+)|(%d+)|([^|]*)$')
    if not user then
        -- There were seats with a bar in their names. What cannot be read at all keeps nobody from being dropped.
        user, quantity, number, list = string.match(text, '^(.-)|(%d+)|(%d+)|(.*)$')
        if not user then return {user = '', quantity = 0, fence = '0', seats = {}} end
    end
    local hold = {user = user, quantity = tonumber(quantity), fence = number, seats = {}}
    for seat in string.gmatch(list, '[^,]+') do table.insert(hold.seats, seat) end
    return hold
end

-- Forgets a hold; its seats become `mark`, or free without one. Seats that are not its own any more stay as they are.
local function drop(id, mark)
    local hold = read(id)
    if not hold then return false end
    for _, seat in ipairs(hold.seats) do
        if redis.call('HGET', seats, seat) == id then
            if mark then redis.call('HSET', seats, seat, mark) else redis.call('HDEL', seats, seat) end
        end
    end
    redis.call('HDEL', holds, id)
    redis.call('ZREM', expiry, id)
    -- Not `-quantity`: -0 is no integer to Redis.
    local change = 0 - hold.quantity
    if redis.call('HINCRBY', users, hold.user, change) <= 0 then redis.call('HDEL', users, hold.user) end
    redis.call('HINCRBY', users, ' all', change)
    return true
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', expiry, '-inf', now)) do drop(id) end

local function held()
    return tonumber(redis.call('HGET', users, ' all') or '0')
end

-- ARGV: hold, id, user, quantity, milliseconds, limit per user, available (-1: seated), the last millisecond at which
-- it may be taken (0: any), seat...
if command == 'hold' then
    local id, user, quantity = ARGV[2], ARGV[3], tonumber(ARGV[4])
    local lasts, limit, available, last = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
    if last > 0 and now > last then return {'over', '', 0} end
    if available < 0 and redis.call('EXISTS', ready) == 0 then return {'cold', '', 0} end
    local wanted = {}
    for i = 9, #ARGV do
        local owner = redis.call('HGET', seats, ARGV[i])
        if owner then return {'taken', ARGV[i], 0} end
        table.insert(wanted, ARGV[i])
    end
    local has = tonumber(redis.call('HGET', users, user) or '0')
    if has + quantity > limit then return {'limit', tostring(has), 0} end
    if available >= 0 and held() + quantity > available then return {'short', '', 0} end
    -- Never lower than before, even when Redis has forgotten everything: numbers below the time were given earlier.
    local number = math.max(tonumber(redis.call('GET', fence) or '0') + 1, now * 1000)
    number = string.format('%.0f', number)
    redis.call('SET', fence, number)
    for _, seat in ipairs(wanted) do redis.call('HSET', seats, seat, id) end
    redis.call('HSET', holds, id, user .. '|' .. quantity .. '|' .. number .. '|' .. table.concat(wanted, ','))
    redis.call('ZADD', expiry, now + lasts, id)
    redis.call('HINCRBY', users, user, quantity)
    redis.call('HINCRBY', users, ' all', quantity)
    return {'ok', number, now + lasts}
end

-- ARGV: claim, milliseconds, id... Holds that are being confirmed do not expire meanwhile. Tells which are gone.
if command == 'claim' then
    local gone = {}
    for i = 3, #ARGV do
        local ends = redis.call('ZSCORE', expiry, ARGV[i])
        if ends then
            redis.call('ZADD', expiry, math.max(tonumber(ends), now + tonumber(ARGV[2])), ARGV[i])
        else
            table.insert(gone, ARGV[i])
        end
    end
    return {'ok', table.concat(gone, ','), #gone}
end

-- ARGV: release, id, user
if command == 'release' then
    local hold = read(ARGV[2])
    if not hold or hold.user ~= ARGV[3] then return {'gone', '', 0} end
    drop(ARGV[2])
    return {'ok', '', 0}
end

-- ARGV: finish, (id, number of seats, seat...)... The seats are sold, whether or not the hold is still there.
if command == 'finish' then
    local i = 2
    while i <= #ARGV do
        drop(ARGV[i], 'sold')
        local last = i + 1 + tonumber(ARGV[i + 1])
        for place = i + 2, last do redis.call('HSET', seats, ARGV[place], 'sold') end
        i = last + 1
    end
    return {'ok', '', 0}
end

-- ARGV: held
if command == 'held' then return {'ok', '', held()} end

-- ARGV: mark, version, count of freed, 'all' or 'some', (seat, 'sold' or 'free')...
-- Makes the marks agree with what was read from the database at that moment. Seats that were sold then are still sold
-- unless some were freed since; seats that were free are still free unless anything changed.
if command == 'mark' then
    local frees = false
    for i = 6, #ARGV, 2 do frees = frees or ARGV[i] == 'free' end
    if (redis.call('GET', freed) or '0') ~= ARGV[3] then return {'stale', '', 0} end
    if frees and redis.call('GET', version) ~= ARGV[2] then return {'stale', '', 0} end
    for i = 5, #ARGV, 2 do
        if ARGV[i + 1] == 'sold' then
            redis.call('HSET', seats, ARGV[i], 'sold')
        elseif redis.call('HGET', seats, ARGV[i]) == 'sold' then
            redis.call('HDEL', seats, ARGV[i])
        end
    end
    if ARGV[4] == 'all' then redis.call('SET', ready, '1') end
    return {'ok', '', 0}
end

return redis.error_reply('unknown command')
