-- Builds the sandbox of a fresh interpreter, once, before any script runs. Its arguments: what Rust provides; the table
-- that holds the globals; and the empty table that scripts get for it.
--
-- Lua 5.1 has no read-only tables. So scripts never see a shared table itself, but an empty one that shows it: reading
-- goes through `__index`, writing is refused. Nothing a script does lasts beyond it.

local native, real, public = ...

local collectgarbage, concat, error, getmetatable = collectgarbage, table.concat, error, getmetatable
local insert, remove = table.insert, table.remove
local loadstring, next, pcall, rawget, rawset = loadstring, next, pcall, rawget, rawset
local select, setmetatable, tostring, type, xpcall = select, setmetatable, tostring, type, xpcall
local tonumber, unpack = tonumber, unpack
local byte, sub = string.byte, string.sub
local find, gsub, match, search = native.string.find, native.string.gsub, native.string.match, native.string.search
local create, resume = coroutine.create, coroutine.resume
-- Ends the script if it was stopped. Functions of C can't be interrupted, and the instructions of every coroutine are
-- counted anew; so whatever may take long, or runs a coroutine, looks first.
local look = native.look

-- The parser holds the name of its chunk without owning it. These are the names that Rust gives.
native.anchors = { "@user_script", "@user_function" }

---------------------------------------------------------------------------------------------------- read-only tables

local READONLY = "Attempt to modify a readonly table"
-- What stands behind a table that scripts see, by that table.
local behind = {}

local function refuse()
    error(READONLY, 2)
end

-- What `getmetatable` gives for them: nothing that could be changed.
local locked = setmetatable({}, { __newindex = refuse, __metatable = false })
behind[locked] = {}

local function seal(hidden, shown)
    shown = shown or {}
    behind[shown] = hidden
    return setmetatable(shown, { __index = hidden, __newindex = refuse, __metatable = locked })
end

local function type_name(value)
    return value == nil and "no value" or type(value)
end

local function expect_table(value, what)
    if type(value) ~= "table" then
        error("bad argument #1 to '" .. what .. "' (table expected, got " .. type_name(value) .. ")", 3)
    end
end

function real.pairs(t)
    expect_table(t, "pairs")
    local hidden = behind[t]
    if hidden then
        return function(_, key) return next(hidden, key) end, t, nil
    end
    return next, t, nil
end

function real.rawget(t, key)
    expect_table(t, "rawget")
    return rawget(behind[t] or t, key)
end

function real.rawset(t, key, value)
    expect_table(t, "rawset")
    if behind[t] then error(READONLY, 0) end
    return rawset(t, key, value)
end

function real.setmetatable(t, metatable)
    expect_table(t, "setmetatable")
    if behind[t] then error(READONLY, 0) end
    return setmetatable(t, metatable)
end

-- Lua's own function is the fastest where it moves nothing.
function real.table.insert(t, ...)
    if behind[t] then error(READONLY, 0) end
    if type(t) == "table" and select("#", ...) == 1 then return insert(t, ...) end
    return native.table.insert(t, ...)
end

function real.table.remove(t, ...)
    if type(t) == "table" and select("#", ...) == 0 then return remove(t) end
    return native.table.remove(t, ...)
end

-- Here, too: Lua's own function is safe for the first elements of a table.
function real.unpack(t, ...)
    if type(t) == "table" and select("#", ...) == 0 and #t < native.results_max then return unpack(t) end
    return native.table.unpack(t, ...)
end

-------------------------------------------------------------------------------------------------------------- errors

-- Errors of Rust are opaque. Those of commands and libraries can be caught, as what Redis would have raised; others end
-- the script: it was stopped, or is out of memory.
local function is_opaque(err)
    return type(err) == "userdata" and err ~= native.null
end

local function caught(ok, err, ...)
    if ok then return true, err, ... end
    if is_opaque(err) then
        local seen = native.seen(err)
        if seen == nil then error(err, 0) end
        err = seen
    end
    return false, err, ...
end

local function caught_text(ok, err, ...)
    -- as before Redis 7, where errors of commands were texts
    if not ok and type(err) == "table" and type(err.err) == "string" then return false, err.err end
    return ok, err, ...
end

function real.pcall(...)
    return caught_text(caught(pcall(...)))
end

function real.xpcall(run, handler)
    return caught(xpcall(run, function(err)
        if is_opaque(err) then
            local seen = native.seen(err)
            if seen == nil then return err end
            err = seen
        end
        return handler(err)
    end))
end

function real.coroutine.resume(...)
    look()
    return caught(resume(...))
end

-- The level is that of whoever called the function that `wrap` gave.
local function woken(ok, err, ...)
    if ok then return err, ... end
    if type(err) == "string" or type(err) == "number" then error(tostring(err), 3) end
    error(err, 0)
end

function real.coroutine.wrap(run)
    local ok, thread = pcall(create, run)
    if not ok then error("bad argument #1 to 'wrap' (Lua function expected)", 2) end
    return function(...)
        look()
        return woken(resume(thread, ...))
    end
end

------------------------------------------------------------------------------------- what can't be stopped or bounded

-- Only text is loaded: the interpreter trusts byte code. A reader is run before the parser, not while it works: it could
-- have memory collected that the parser uses. Texts are bounded, for the parser can't be stopped, and counts in `int`.
function real.loadstring(text, name)
    look()
    if type(text) ~= "string" then return loadstring(text, name) end
    if byte(text, 1) == 27 then return nil, "byte code is not loaded" end
    if #text > native.text_bytes_max then
        return nil, "chunk has more than " .. native.text_bytes_max .. " bytes"
    end
    if name == nil then name = text end
    if type(name) == "string" then
        -- the parser ends the name at the first zero; what it takes must be this string, which is held here
        local zero = find(name, "\0", 1, true)
        if zero then name = sub(name, 1, zero - 1) end
    end
    return loadstring(text, name)
end

function real.load(reader, name)
    local pieces = {}
    while true do
        local piece = reader()
        if piece == nil or piece == "" then break end
        if type(piece) ~= "string" then return nil, "reader function must return a string" end
        pieces[#pieces + 1] = piece
    end
    return real.loadstring(concat(pieces), name or "=(load)")
end

function real.collectgarbage(what, number)
    look()
    if what == nil or what == "collect" or what == "count" or what == "step" then
        return collectgarbage(what, number)
    end
    return 0
end

-- Patterns are matched in Rust, where they can be stopped. What a script hands over to be called is called from here,
-- so that its errors stay what they are.
for _, name in next, { "dump", "find", "format", "lower", "match", "rep", "reverse", "upper" } do
    real.string[name] = native.string[name]
end
real.math.random, real.math.randomseed = native.math.random, native.math.randomseed
real.table.concat, real.table.maxn = native.table.concat, native.table.maxn

function real.table.foreach(t, call)
    expect_table(t, "foreach")
    for key, value in next, t do
        local result = call(key, value)
        if result ~= nil then return result end
    end
end

function real.table.foreachi(t, call)
    expect_table(t, "foreachi")
    for i = 1, #t do
        local result = call(i, rawget(t, i))
        if result ~= nil then return result end
    end
end

-- The quicksort of Lua's own library, step by step, so that equal elements end up in the same order.
local function quicksort(a, l, u, less)
    while l < u do
        if less(a[u], a[l]) then a[l], a[u] = a[u], a[l] end
        if u - l == 1 then break end
        local middle = (l + u - (l + u) % 2) / 2
        if less(a[middle], a[l]) then
            a[middle], a[l] = a[l], a[middle]
        elseif less(a[u], a[middle]) then
            a[middle], a[u] = a[u], a[middle]
        end
        if u - l == 2 then break end
        local pivot = a[middle]
        a[middle], a[u - 1] = a[u - 1], a[middle]
        local i, j = l, u - 1
        while true do
            i = i + 1
            while less(a[i], pivot) do
                if i > u then error("invalid order function for sorting", 0) end
                i = i + 1
            end
            j = j - 1
            while less(pivot, a[j]) do
                if j < l then error("invalid order function for sorting", 0) end
                j = j - 1
            end
            if j < i then break end
            a[i], a[j] = a[j], a[i]
        end
        a[u - 1], a[i] = a[i], a[u - 1]
        -- the smaller part first, so that this nests no deeper than the logarithm of the length
        if i - l < u - i then
            quicksort(a, l, i - 1, less)
            l = i + 1
        else
            quicksort(a, i + 1, u, less)
            u = i - 1
        end
    end
end

local function is_less(a, b)
    return a < b
end

-- Sorts a copy: elements that Lua reads and writes itself are those that no metamethod stands before.
local function sort(t, less)
    local elements, length = {}, #t
    for i = 1, length do elements[i] = rawget(t, i) end
    quicksort(elements, 1, length, less)
    for i = 1, length do rawset(t, i, elements[i]) end
end

-- What went wrong here is told without the place in this file.
local function unplaced(ok, err)
    if ok then return end
    if type(err) == "string" then err = gsub(err, "^prelude:%d+: ", "") end
    error(err, 0)
end

function real.table.sort(t, less)
    expect_table(t, "sort")
    if behind[t] then return end
    if less == nil then return unplaced(pcall(sort, t, is_less)) end
    if type(less) ~= "function" then
        error("bad argument #2 to 'sort' (function expected, got " .. type(less) .. ")", 2)
    end
    sort(t, less)
end

-- Checks the arguments, and fails as the others do.
local function check(text, pattern)
    match(text, "", nil)
    match("", pattern, nil)
end

function real.string.gmatch(text, pattern)
    check(text, pattern)
    local at = 1
    local function found(first, last, ...)
        if first == nil then
            at = nil
            return nil
        end
        at = last < first and first + 1 or last + 1
        if select("#", ...) == 0 then return sub(text, first, last) end
        return ...
    end
    return function()
        if at == nil or at > #text + 1 then return nil end
        return found(search(text, pattern, at))
    end
end
real.string.gfind = real.string.gmatch

local function replacement(by, whole, ...)
    local key = whole
    if select("#", ...) > 0 then key = (...) end
    local value
    if type(by) == "table" then
        value = by[key]
    elseif select("#", ...) > 0 then
        value = by(...)
    else
        value = by(whole)
    end
    if not value then return whole end
    if type(value) ~= "string" and type(value) ~= "number" then
        error("invalid replacement value (a " .. type(value) .. ")", 4)
    end
    return value
end

function real.string.gsub(text, pattern, by, limit)
    if type(by) ~= "function" and type(by) ~= "table" then return gsub(text, pattern, by, limit) end
    check(text, pattern)
    text, pattern = tostring(text), tostring(pattern)
    local pieces, at, count = {}, 1, 0
    local function put(first, last, ...)
        if first == nil then return false end
        count = count + 1
        pieces[#pieces + 1] = sub(text, at, first - 1)
        pieces[#pieces + 1] = replacement(by, sub(text, first, last), ...)
        at = last + 1
        if last < first then
            pieces[#pieces + 1] = sub(text, at, at)
            at = at + 1
        end
        return true
    end
    local is_anchored = byte(pattern) == 94
    while at <= #text + 1 and (limit == nil or count < limit) do
        if is_anchored then
            put(find(text, pattern))
            break
        end
        if not put(search(text, pattern, at)) then break end
    end
    pieces[#pieces + 1] = sub(text, at)
    return concat(pieces), count
end

----------------------------------------------------------------------------------------------------------- libraries

for name, library in next, native.libraries do real[name] = library end

local redis = native.redis
real.redis = redis

local function single_field(field, ...)
    if select("#", ...) ~= 1 or type((...)) ~= "string" then
        return { err = "ERR wrong number or type of arguments" }
    end
    return { [field] = (...) }
end

function redis.status_reply(...)
    return single_field("ok", ...)
end

function redis.error_reply(...)
    local answer = single_field("err", ...)
    local text = gsub(answer.err, "^%-", "")
    if not find(text, " ", 1, true) then text = "ERR " .. text end
    answer.err = text
    return answer
end

if not native.loading then
    function redis.replicate_commands()
        return true
    end

    function redis.breakpoint()
        return false
    end

    function redis.debug()
    end
end

------------------------------------------------------------------------------------------------------------- globals

local ALLOWED = {
    "assert", "bit", "cjson", "cmsgpack", "collectgarbage", "coroutine", "error", "gcinfo", "getmetatable", "ipairs",
    "load", "loadstring", "math", "next", "os", "pairs", "pcall", "rawequal", "rawget", "rawset", "redis", "select",
    "setmetatable", "string", "struct", "table", "tonumber", "tostring", "type", "unpack", "xpcall", "_VERSION",
}
local globals = {}
for _, name in next, ALLOWED do globals[name] = real[name] end
globals.os = { clock = real.os.clock }

-- emptied in place: this table is what C functions take for the globals
for name in next, real do real[name] = nil end
for name, value in next, globals do
    if type(value) == "table" then value = seal(value) end
    real[name] = value
end
getmetatable("").__metatable = seal({ __index = real.string })
-- Valkey's name for it
real.server = real.redis
real._G = seal(real, public)

local absent = {
    __index = function(_, name)
        error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
    end,
}
setmetatable(real, absent)

-- The globals of a library while it is loaded: only what registers functions.
if native.loading then
    local loading = seal(setmetatable(native.loading, absent))
    native.loading_globals = setmetatable({ redis = loading, server = loading }, absent)
end

-- Runs a script, or a function with its arguments; gives whether it came to its end, and its result or its error.
return function(script, ...)
    if select("#", ...) == 0 then return xpcall(script, native.handle) end
    local keys, args = ...
    return xpcall(function() return script(keys, args) end, native.handle)
end
