-- Holds of one event. All keys share the hash tag {event}; the time is the server's, so that one clock counts.
-- KEYS: 1 seats    hash: seat -> holding id, or 'sold'
--       2 holds    hash: holding id -> user|quantity|fence|seat,seat,... (the quantity with zeros in front, see WIDE)
--       3 expiry   sorted set: holding id by the millisecond at which it ends
--       4 users    hash: user -> tickets held; ' all' (no user's name begins with a space) -> tickets held by all; ' wide', see WIDE
--       5 fence    the last fencing number given
--       6 ready    exists once the sold seats are marked in `seats`
--       7 version  the event's version, see versions.rs
--       8 freed    how often seats of the event were freed
-- ARGV: commands, one after the other: name, number of arguments, arguments. Returns a reply for each: what happened, a number
-- and a text in one string, which is less work for Redis and its client than an array of three.
local call = redis.call
local seats, holds, expiry, users, fence, ready, version, freed = unpack(KEYS)
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Seconds without use after which an event's keys go. `ready` goes first: seats without marks are not taken for free.
local KEPT, READY_KEPT = 604800, 601200
-- Redis keeps a hash of up to 512 short values as a list, which each command searches from its start. With one value of more
-- than 64 bytes it is a table.
local WIDE = 65

-- What all users hold together, the last fencing number, whether seats are marked: read once, written at the end.
local all_before = tonumber(call('HGET', users, ' all') or '0')
local all, number, is_ready, used = all_before, nil, nil, false

-- A hold as it is written down.
local function parsed(text)
    local user, quantity, fencing, list = string.match(text, '^([^|]*)|(%d+)|(%d+)|([^|]*)$')
    -- A user's name may have bars, too; that is slower to find out.
    if not user then user, quantity, fencing, list = string.match(text, '^(.*)|(%d+)|(%d+)|([^|]*)$') end
    if not user then
        -- There were seats with a bar in their names. What cannot be read at all keeps nobody from being dropped.
        user, quantity, fencing, list = string.match(text, '^(.-)|(%d+)|(%d+)|(.*)$')
        if not user then return {user = '', quantity = 0, fence = '0', seats = {}} end
    end
    local hold = {user = user, quantity = tonumber(quantity), fence = fencing, seats = {}}
    for seat in string.gmatch(list, '[^,]+') do table.insert(hold.seats, seat) end
    return hold
end

local function read(id)
    local text = call('HGET', holds, id)
    return text and parsed(text)
end

-- Forgets holds; their seats become free, but for those in `sold`. Seats that are not theirs any more stay as they are.
local function drop(ids, sold)
    if #ids == 0 then return end
    local seen, names, given, nobody = {}, {}, {}, {}
    for i, text in ipairs(call('HMGET', holds, unpack(ids))) do
        local hold = text and not seen[ids[i]] and parsed(text)
        if hold then
            seen[ids[i]] = true
            for _, seat in ipairs(hold.seats) do
                if not sold[seat] and call('HGET', seats, seat) == ids[i] then call('HDEL', seats, seat) end
            end
            if not given[hold.user] then table.insert(names, hold.user) end
            given[hold.user] = (given[hold.user] or 0) + hold.quantity
            all = all - hold.quantity
        end
    end
    for i, has in ipairs(#names > 0 and call('HMGET', users, unpack(names)) or {}) do
        local back = given[names[i]]
        if tonumber(has or '0') > back then
            -- Not `-back`: -0 is no integer to Redis.
            call('HINCRBY', users, names[i], 0 - back)
        else
            table.insert(nobody, names[i])
        end
    end
    call('HDEL', holds, unpack(ids))
    call('ZREM', expiry, unpack(ids))
    if #nobody > 0 then call('HDEL', users, unpack(nobody)) end
end

-- Some at a time: what `unpack` can take is limited.
local ended
repeat
    ended = call('ZRANGEBYSCORE', expiry, '-inf', now, 'LIMIT', 0, 1000)
    drop(ended, {})
until #ended < 1000

-- Lets a hold that is there last until `ends` at least.
local function extend(id, ends)
    local before = call('ZSCORE', expiry, id)
    if not before then return nil end
    if tonumber(before) >= ends then return tonumber(before) end
    call('ZADD', expiry, ends, id)
    return ends
end

local commands = {}

-- id, user, quantity, milliseconds, limit per user (0: none), available (-1: seated), the last millisecond at which it may
-- be taken (0: any), whether it may be there already (1), seat...
function commands.hold(first, last)
    local id, user, quantity, lasts = ARGV[first], ARGV[first + 1], tonumber(ARGV[first + 2]), tonumber(ARGV[first + 3])
    local limit, available, latest = tonumber(ARGV[first + 4]), tonumber(ARGV[first + 5]), tonumber(ARGV[first + 6])
    if latest > 0 and now > latest then return 'over', 0, '' end
    if ARGV[first + 7] == '1' then
        local known = read(id)
        local ends = known and known.user == user and extend(id, now + lasts)
        if ends then return 'ok', ends, known.fence end
    end
    if available < 0 then
        if is_ready == nil then is_ready = call('EXISTS', ready) == 1 end
        if not is_ready then return 'cold', 0, '' end
    end
    for i = first + 8, last do
        if call('HGET', seats, ARGV[i]) then return 'taken', 0, ARGV[i] end
    end
    if limit > 0 then
        local has = tonumber(call('HGET', users, user) or '0')
        if has + quantity > limit then return 'limit', 0, tostring(has) end
    end
    if available >= 0 and all + quantity > available then return 'short', 0, '' end
    -- Never lower than before, even when Redis has forgotten everything: numbers below the time were given earlier.
    number = math.max((number or tonumber(call('GET', fence) or '0')) + 1, now * 1000)
    local fencing = string.format('%d', number)
    for i = first + 8, last do call('HSET', seats, ARGV[i], id) end
    local list = table.concat(ARGV, ',', first + 8, last)
    local wide = string.format('%0' .. WIDE .. 'd', quantity)
    call('HSET', holds, id, user .. '|' .. wide .. '|' .. fencing .. '|' .. list)
    call('ZADD', expiry, now + lasts, id)
    call('HINCRBY', users, user, quantity)
    all = all + quantity
    used = true
    return 'ok', now + lasts, fencing
end

-- id, milliseconds, the millisecond at which it was to end. A hold that is being confirmed does not expire meanwhile; yet
-- whoever confirms again and again keeps it no longer than the first time could have lasted.
function commands.claim(first)
    local lasts = tonumber(ARGV[first + 1])
    local ends = extend(ARGV[first], math.min(now, tonumber(ARGV[first + 2])) + lasts)
    if ends then return 'ok', ends, '' end
    return 'gone', 0, ''
end

-- id, user
function commands.release(first)
    local hold = read(ARGV[first])
    if not hold or hold.user ~= ARGV[first + 1] then return 'gone', 0, '' end
    drop({ARGV[first]}, {})
    return 'ok', 0, ''
end

-- (id, number of seats, seat...)... The seats are sold, whether or not the hold is still there.
function commands.finish(first, last)
    local ids, sold, marks = {}, {}, {}
    local i = first
    while i <= last do
        if ARGV[i] ~= '' then table.insert(ids, ARGV[i]) end
        local place = i + 1 + tonumber(ARGV[i + 1])
        for seat = i + 2, place do
            sold[ARGV[seat]] = true
            table.insert(marks, ARGV[seat])
            table.insert(marks, 'sold')
        end
        i = place + 1
    end
    for from = 1, #marks, 1000 do call('HSET', seats, unpack(marks, from, math.min(from + 999, #marks))) end
    drop(ids, sold)
    return 'ok', 0, ''
end

function commands.held()
    return 'ok', all, ''
end

-- version, count of freed, 'all' or 'some', (seat, 'sold' or 'free')...
-- Makes the marks agree with what was read from the database at that moment. Seats that were sold then are still sold
-- unless some were freed since; seats that were free are still free unless anything changed.
function commands.mark(first, last)
    local frees = false
    for i = first + 4, last, 2 do frees = frees or ARGV[i] == 'free' end
    if (call('GET', freed) or '0') ~= ARGV[first + 1] then return 'stale', 0, '' end
    if frees and call('GET', version) ~= ARGV[first] then return 'stale', 0, '' end
    for i = first + 3, last, 2 do
        if ARGV[i + 1] == 'sold' then
            call('HSET', seats, ARGV[i], 'sold')
        elseif call('HGET', seats, ARGV[i]) == 'sold' then
            call('HDEL', seats, ARGV[i])
        end
    end
    if ARGV[first + 2] == 'all' then call('SET', ready, '1') end
    used = true
    return 'ok', 0, ''
end

local replies = {}
local i = 1
while i <= #ARGV do
    local last = i + 1 + tonumber(ARGV[i + 1])
    local outcome, value, text = commands[ARGV[i]](i + 2, last)
    table.insert(replies, outcome .. ' ' .. string.format('%d', value) .. ' ' .. text)
    i = last + 1
end

if number then call('SET', fence, string.format('%d', number)) end
if all ~= all_before then
    if all_before == 0 then call('HSET', users, ' wide', string.rep(' ', WIDE)) end
    call('HINCRBY', users, ' all', all - all_before)
    -- Whatever went wrong before: without holds nobody holds anything.
    if call('EXISTS', holds) == 0 then call('DEL', users) end
end
if used then
    for _, key in ipairs({seats, holds, expiry, users, fence}) do call('EXPIRE', key, KEPT) end
    call('EXPIRE', ready, READY_KEPT)
end
return replies
