-- Calls every function that a script can reach, by chance, in every way it can be called, with arguments at the edges of
-- what they may be. `ARGV`: what chance begins with, and how many calls there are. Tells each call before it is made.

local seed, calls = ARGV[1], tonumber(ARGV[2])
math.randomseed(tonumber(seed))
local random = math.random

local names, functions = {}, {}
local function collect(library, path)
    for name, value in pairs(library) do
        local path = path .. tostring(name)
        if type(value) == "function" then
            names[#names + 1] = path
            functions[path] = value
        elseif type(value) == "table" and value ~= _G and value ~= KEYS and value ~= ARGV then
            collect(value, path .. ".")
        end
    end
end
collect(_G, "")
table.sort(names)

local function pick(list)
    return list[random(#list)]
end

-------------------------------------------------------------------------------------------------------------- values

local numbers = {
    0, 1, -1, 2, 3, 7, 16, 33, 64, 0.5, -0.5, 1e-300, 255, 256, 7899, 7900, 7999, 8000, 8001, 65535, 65536, 1e6,
    2 ^ 31 - 1, 2 ^ 31, -2 ^ 31, -2 ^ 31 - 1, 2 ^ 32 - 1, 2 ^ 32, 2 ^ 53, 2 ^ 63, -2 ^ 63, 2 ^ 64, 1e300, -1e300,
    1 / 0, -1 / 0, 0 / 0,
}
local strings = {
    "", "x", "\0", "a\0b", "0", "-1", "2147483647", "-2147483648", "1e400", "0x10", " 7 ", "nan", "call", "n", "k", "v",
    "%", "%s", "%d%d", "%99.99f", "%.99s", "%-+ #0d", "%q", "%c", "%1$s", "%5", "[", "[]", "[^", "[a-", "%b", "%bxx", "%f",
    "(", ")", "()", "(()", "%1", "^", "$", "^*", ".-", ".*", "a-b?", ("("):rep(33), ("a?"):rep(300), (".-"):rep(40),
    "[1,2,{\"a\":null}]", "{", ("["):rep(2000), "\"\\ud800\"", "1e999", "\192\193", "\221\255\255\255\255",
    "\219\255\255\255\255x", "\199\255\255", ("\145"):rep(2000), "i4", "<!16i32", "c0", "c2147483647", "s", "!3", "bBhHlLfdx",
    "i33", "c99999999999", ("x"):rep(3000), ("d"):rep(8000), "collect", "step", "count", "*t", "local x = ...; return x",
    "return", "\27Lua", "\27LuaQ\0\1\4\8\4\8\0", "=name", "@name", ("n"):rep(200), ("12 "):rep(5000), ("x"):rep(200000),
}
local function returns(...) return ... end
local function fails() error({ err = "failure" }) end
local function recurses(...) return recurses(...) .. "" end
local variants = {}
local function fresh_table()
    local kind = random(12)
    if kind == 1 then return {} end
    if kind == 2 then return { 1, 2, 3 } end
    if kind == 3 then return { [2 ^ 31 - 1] = 1, [0] = 2, [-1] = 3 } end
    if kind == 4 then local t = {} t[1], t.t = t, t return t end
    if kind == 5 then
        -- few elements, but a length of more than 2^28
        local elements = {}
        for i = 1, 29 do elements[i] = ("[%d] = 1"):format(2 ^ (i - 1)) end
        return loadstring("return {" .. table.concat(elements, ", ") .. "}")()
    end
    if kind == 6 then local t = {} for i = 1, 3000 do t[i] = i % 7 end return t end
    if kind == 7 then return { 3, "x", {}, true, n = 5 } end
    if kind == 8 then return setmetatable({}, { __mode = pick({ "k", "v", "kv" }) }) end
    if kind == 9 then return { err = pick(strings), ok = pick(strings), double = pick(numbers) } end
    if kind == 10 then return pick({ string, table, math, redis, cjson, _G, KEYS }) end
    local handler = functions[pick(names)]
    if random(3) == 1 then handler = pick({ returns, fails, recurses, coroutine.yield }) end
    local events = {}
    for _, event in ipairs({ "index", "newindex", "call", "concat", "add", "unm", "len", "eq", "lt", "le", "tostring", "gc",
        "metatable" }) do
        if random(2) == 1 then events["__" .. event] = handler end
    end
    return setmetatable({}, events)
end

local int_edges = { 0, 1, -1, -2, 2 ^ 31 - 1, 2 ^ 31, -2 ^ 31, -2 ^ 31 - 1, 2 ^ 53, 7999, 8000, 1e300, 0 / 0 }

-- What calls gave.
local kept = {}
local function value()
    local kind = random(12)
    if kind <= 4 then return pick(numbers) end
    if kind <= 7 then return pick(strings) end
    if kind == 8 then return fresh_table() end
    if kind == 9 then return pick({ true, false, cjson.null, returns, fails, recurses, coroutine.yield }) end
    if kind == 10 then return functions[pick(names)] end
    if kind == 11 and #kept > 0 then return pick(kept) end
    if random(4) == 1 then return coroutine.create(pick({ returns, fails, coroutine.yield })) end
    return nil
end

-- Often what the function expects, so that calls come past the checks of types.
local function argument(name, at)
    if random(4) == 1 then return value() end
    if at > 1 and random(3) > 1 then return pick(int_edges) end
    if name:find("^table%.") or name == "unpack" or name == "next" or name:find("^raw") then return fresh_table() end
    if name:find("^string%.") or name:find("^c?j?s?msgpack%.") or name:find("^struct%.") then return pick(strings) end
    return value()
end

-- A chunk that may or may not be one.
local words = {
    "local", "a", "b", "=", "function", "(", ")", "...", "end", "return", "if", "then", "else", "elseif", "while", "do",
    "repeat", "until", "for", "in", "{", "}", "[", "]", "[[", "]]", "[==[", "]==]", "--", "--[[", "--[==[", "\n", "\r", "\0",
    "'", '"', "\\", "\\999", "\\\n", "1", "0x", "1e", "1e5", "..", ".", ":", ";", ",", "+", "-", "*", "/", "%", "^", "#",
    "not", "and", "or", "nil", "true", "~=", "==", "<", ">", "$", "\255", "KEYS", "('x'):rep(9)", "f()", "break",
}
local function chunk()
    local kind = random(8)
    if kind == 1 then return ("("):rep(random(400)) .. "1" .. (")"):rep(random(400)) end
    if kind == 2 then return "return " .. ("{"):rep(random(400)) end
    if kind == 3 then return "return " .. ("-"):rep(random(400)) .. "1" end
    if kind == 4 then return "local " .. ("a,"):rep(random(400)) .. "a = 1 return a" end
    if kind == 5 then
        local parameters = ("p,"):rep(random(250))
        return "local function f(" .. parameters .. "...) return ... end return f(), f(1), select('#', f(unpack({1, 2}, 1, "
            .. random(300) .. ")))"
    end
    if kind == 6 then return "local a = {} return a" .. (pick({ ".b", "[1]", "()", ":c()", " .. 'x'", " + 1" })):rep(random(400)) end
    local pieces = {}
    for i = 1, random(40) do pieces[i] = pick(words) end
    return table.concat(pieces, pick({ " ", "" }))
end

--------------------------------------------------------------------------------------------------------------- calls

local function describe(argument)
    if type(argument) == "string" then return ("%q"):format(argument:sub(1, 60)) .. "#" .. #argument end
    if type(argument) == "number" then return ("%.17g"):format(argument) end
    return type(argument)
end

local function operate(call, first, second)
    local object = setmetatable({}, {
        __index = call, __newindex = call, __call = call, __concat = call, __add = call, __unm = call, __eq = call,
        __lt = call, __le = call, __tostring = call,
    })
    local other = setmetatable({}, getmetatable(object))
    pcall(function() return object[first] end)
    pcall(function() object[second] = first end)
    pcall(function() return object(first, second) end)
    pcall(function() return object .. second, first .. object end)
    pcall(function() return object + first, -object end)
    pcall(function() return object == other, object < other, object <= other end)
    pcall(tostring, object)
end

for i = 1, calls do
    local name = pick(names)
    local call = functions[name]
    local arguments, count = {}, pick({ 0, 1, 2, 2, 3, 3, 3, 4, 5 })
    for at = 1, count do arguments[at] = argument(name, at) end
    if random(10) == 1 then
        name, call = "loadstring", function(...)
            local compiled, why = loadstring(...)
            if compiled then return pcall(compiled, ...) end
            return why
        end
        arguments, count = { chunk(), pick(strings) }, random(2)
    end
    local told = {}
    for at = 1, count do told[at] = describe(arguments[at]) end
    redis.call("tell", "seed " .. seed .. " call " .. i .. ": " .. name .. "(" .. table.concat(told, ", ") .. ")")

    local first, second, third, fourth, fifth = unpack(arguments, 1, 5)
    local function run()
        if count == 0 then return call() end
        if count == 1 then return call(first) end
        if count == 2 then return call(first, second) end
        if count == 3 then return call(first, second, third) end
        if count == 4 then return call(first, second, third, fourth) end
        return call(first, second, third, fourth, fifth)
    end
    local way = random(8)
    local _, result
    if way == 1 then
        _, result = coroutine.resume(coroutine.create(run))
    elseif way == 2 then
        _, result = pcall(coroutine.wrap(run))
    elseif way == 3 then
        _, result = xpcall(run, call)
    elseif way == 4 then
        pcall(string.gsub, "xyz", ".", call)
        pcall(table.sort, { 3, 1, 2, 5, 4 }, call)
        pcall(table.foreach, { 1, 2, a = 3 }, call)
    elseif way == 5 then
        operate(call, first, second)
    else
        _, result = pcall(run)
    end
    if result ~= nil then kept[random(8)] = result end
    if random(20) == 1 then collectgarbage() end
end
return kept
