-- All that a store does with its keys, each call atomic on one server.
--
-- KEYS: one of each charge; then, if flag is not 0, the token of the call: what its checks were answered, 22 bytes each, so that
-- asking again charges nothing more. Flag 2 says that it is asked again, and an earlier call may still come.
-- ARGV[1]: op, clock, frac, now, arg, slack, flag, ttl. Times are microseconds, ttl milliseconds.
--   clock 0: now is this server's TIME. 1: now is the caller's. 2: the caller's, held within slack of TIME.
--   frac 1: now was rounded down, so what is taken is held from now + 1.
-- A take is of many checks, one after another as if each came alone. ARGV[2] has of each how many charges it has and, by their place
-- in ARGV, what they ask of their rules; and, unless clock is 0, its own frac and now.
-- ARGV[3..], and ARGV[2..] of what is no take: what a charge asks of its rule: kind 1, N, cost, width of a bucket or 0, window
--   or kind 2, free, base, factor, max, forget, jitter, stop, insist; or kind 3, a marker.
-- A value: format, floor, then by format
--   1  sum (1 byte), entries (until, units in 1 byte) by until
--   2  sum (6 bytes), entries (until, units in 6 bytes) by until
--   3  until, count: a delay. The floor is its newest charge.
--   4  a marker; the floor is when it ends.
-- The floor of a window is the end of the newest entry that was dropped: of a reading before it nothing is known, so the
-- check is made at the floor instead. A refund raises it to the reading of what is given back.
-- An answer: 0 denied, 1 allowed, 2 given up, 3 not asked yet or 4 no memory; binding, left, at, wait.
local sp, su, call = struct.pack, struct.unpack, redis.call
local op, clock, frac, now, arg, slack, flag, ttl = su('>BBBI7I7I6BI4', ARGV[1])
local server
if clock ~= 1 then
	local t = call('TIME')
	server = t[1] * 1000000 + t[2]
end

-- read makes a reading that came here the one to judge by.
local function read()
	if clock == 0 then
		now, frac = server, 0
	elseif clock == 2 and (now < server - slack or now > server + slack) then
		now, frac = math.max(server - slack, math.min(server + slack, now)), 0
	end
end

local own = now
read()
arg = arg + (now - own)

-- vals is what keys hold, by name; n charges from KEYS[first] on are those of the check at hand. full says that the server has no
-- memory for them.
local vals, n, first, full = {}, #ARGV - 1, 1, false

local function set(key, v, ms)
	local said = redis.pcall('SET', key, v, 'PX', ms)
	if not said.err then
		vals[key] = v
	elseif op == 0 and said.err:find('OOM', 1, true) then
		full = true
	else
		call('SET', key, v, 'PX', ms) -- fails in its own words
	end
end

-- The usual check, one window that nothing is known of, is answered before anything else is made.
local checks, next, last, before, answers, windows, wrote = ARGV[2], 1, 0, nil, {}, {}, flag == 2
local usual, answered
if op == 0 then
	local held = call('MGET', unpack(KEYS))
	before = held[#KEYS]
	for i = 1, #KEYS - 1 do
		vals[KEYS[i]] = held[i]
	end

	-- usual turns to the next check, and answers it if it was answered before or is a usual one.
	usual = function()
		local spec
		n, spec = su('>BI2', checks, next)
		next, first, last = next + 1 + 2 * n, last + 1, last + n
		if clock ~= 0 then
			frac, now = su('>BI7', checks, next)
			next = next + 8
			read()
		end
		if before then
			local was = before:sub(22 * #answers + 1, 22 * #answers + 22)
			if was ~= '' and was:byte() ~= 3 then
				return was -- the answer that was lost, or that the check was given up
			end
		end
		local key = KEYS[first]
		if n > 1 or vals[key] then
			return nil
		end
		local w = windows[spec]
		if w == nil then
			local kind, most, cost, width, span = su('>BI6I6I6I6', ARGV[spec])
			w = kind == 1 and cost < 256 and { most, cost, width, span }
			windows[spec] = w
		end
		if not w then
			return nil
		end
		local most, cost, width, span = w[1], w[2], w[3], w[4]
		local till = width == 0 and now + frac + span or now - now % width + width - 1 + span
		if not w.ms or clock ~= 0 then
			w.ms = ('%d'):format(math.ceil((till - now + slack) / 1000))
		end
		set(key, sp('>BI7BI7B', 1, 0, cost, till, cost), w.ms)
		return answered(1, 1, most - cost, now, 0)
	end

	answered = function(allowed, binding, left, at, wait)
		if full then
			full = false
			return ('\4'):rep(22)
		end
		wrote = wrote or allowed == 1
		return sp('>BBI6I7I7', allowed, binding, left, at, wait)
	end

	local answer
	repeat
		answer = usual()
		answers[#answers + 1] = answer
	until not answer or next > #checks
	if answer then
		checks = nil
	end
end

local function finish()
	if wrote then
		redis.pcall('SET', KEYS[#KEYS], table.concat(answers), 'PX', ttl) -- where that fails nothing was charged
	end
	if clock == 2 then
		answers[#answers + 1] = sp('>I7', server)
	end
	return table.concat(answers)
end

if op == 0 and not checks then
	return finish()
end
local ENTRY, SIZE = { '>I7B', '>I7I6' }, { 8, 13 }

-- held is a window's value as of at: format, floor, sum, and where its first held entry is.
local function held(v, at)
	local format, floor, sum, pos = v:byte(), nil, nil, nil
	if format == 1 then
		floor, sum, pos = su('>I7B', v, 2)
	else
		floor, sum, pos = su('>I7I6', v, 2)
	end
	local entry, size = ENTRY[format], SIZE[format]
	while pos < #v do
		local till, units = su(entry, v, pos)
		if till > at then
			break
		end
		sum, floor, pos = sum - units, math.max(floor, till), pos + size
	end
	return format, floor, sum, pos
end

-- ends is when so many units that are held have ended.
local function ends(v, format, pos, units)
	while true do
		local till, u = su(ENTRY[format], v, pos)
		units = units - u
		if units <= 0 then
			return till
		end
		pos = pos + SIZE[format]
	end
end

local function window(format, floor, sum, entries)
	return sp(format == 1 and '>BI7B' or '>BI7I6', format, floor, sum) .. entries
end

-- till is when what is taken at at ends. A bucket ends with the last reading that may fall into it.
local function till(at, width, span)
	if width == 0 then
		return at + frac + span
	end
	return at - at % width + width - 1 + span
end

-- find goes back from the last entry: where the entry of u is or would be, and what it has.
local function find(v, format, pos, u)
	local entry, size = ENTRY[format], SIZE[format]
	local p = #v + 1 - size
	while p >= pos do
		local t, units = su(entry, v, p)
		if t == u then
			return p, units
		elseif t < u then
			break
		end
		p = p - size
	end
	return p + size, nil
end

-- wait is the delay after charge c: the table's moved by up to jitter of itself, the same each time for a key and a count.
local function wait(key, spec, c)
	local _, free, base, factor, max, _, jitter, stop = su('>BI2I6dI6I6dB', spec)
	if stop > 0 and c >= stop then
		return 31622400000000
	elseif c <= free then
		return 0
	end
	local w = math.floor(math.min(max, base * factor ^ (c - free - 1)))
	if jitter > 0 then
		local unit = tonumber(redis.sha1hex(key .. c):sub(1, 12), 16) / 2 ^ 47 - 1
		w = math.max(1, math.min(max, w + math.floor(w * jitter * unit)))
	end
	return w
end

-- delay is a delay's value as of at: when the next charge may come, and how many are remembered.
local function delay(v, spec, at)
	if not v then
		return 0, 0
	end
	local u, c = su('>I7B', v, 9)
	local _, _, _, _, _, forget = su('>BI2I6dI6I6', spec)
	if u + forget < at then
		c = 0
	end
	return u, c
end

local function forgets(spec)
	local _, _, _, _, _, forget = su('>BI2I6dI6I6', spec)
	return forget
end

local function keep(key, v, last)
	set(key, v, math.ceil((last - now + slack) / 1000))
end

-- judge says whether a charge is denied at at: until when (nil if not), what its key holds, and what is left.
local function judge(v, spec, at)
	local kind = spec:byte()
	if kind == 1 then
		local _, most, cost = su('>BI6I6', spec)
		if not v then
			return nil, 0, most
		end
		local format, _, sum, pos = held(v, at)
		if sum + cost > most then
			return ends(v, format, pos, sum + cost - most), sum, math.max(0, most - sum)
		end
		return nil, sum, most - sum
	elseif kind == 2 then
		local u, c = delay(v, spec, at)
		return u > at and u or nil, c, 0
	end
	return v and now < su('>I7', v, 2) and su('>I7', v, 2) or nil, 0, 0
end

-- put charges a key at at, and returns what is left of a window.
local function put(key, v, spec, at)
	if spec:byte() == 2 then
		local _, c = delay(v, spec, at)
		c = math.min(c + 1, 127)
		local w = wait(key, spec, c)
		local u = w > 0 and at + frac + w or at
		keep(key, sp('>BI7I7B', 3, at, u, c), u + forgets(spec))
		return nil
	end
	local _, most, cost, width, span = su('>BI6I6I6I6', spec)
	local u = till(at, width, span)
	local format, floor, sum, pos = 1, 0, 0, 1
	if v then
		format, floor, sum, pos = held(v, at)
	else
		v = ''
	end
	sum = sum + cost
	if format == 1 and sum > 255 then -- units no longer fit a byte
		local wide = {}
		for p = pos, #v, 8 do
			wide[#wide + 1] = sp('>I7I6', su('>I7B', v, p))
		end
		format, pos, v = 2, 1, table.concat(wide)
	end
	local p, units = find(v, format, pos, u)
	local rest = v:sub(units and p + SIZE[format] or p)
	keep(key, window(format, floor, sum, v:sub(pos, p - 1) .. sp(ENTRY[format], u, (units or 0) + cost) .. rest),
		rest == '' and u or (su('>I7', v, #v + 1 - SIZE[format])))
	return most - sum
end

-- take answers a check that is not a usual one.
local function take()
	local at, specs = now, {}
	for i = 1, n do
		local v = vals[KEYS[first + i - 1]]
		specs[i] = ARGV[(su('>I2', checks, next - 2 * (n + 1 - i) - (clock ~= 0 and 8 or 0)))]
		if v then
			at = math.max(at, (su('>I7', v, 2)))
		end
	end
	if at > now then
		frac = 0
	end
	local worst, binding, left = nil, 0, 0
	for i = 1, n do
		local u, _, rest = judge(vals[KEYS[first + i - 1]], specs[i], at)
		if u and (not worst or u > worst) then
			worst, binding, left = u, i, rest
		end
	end
	if worst then
		local spec, key = specs[1], KEYS[first]
		if n == 1 and spec:byte() == 2 and spec:byte(-1) == 1 then -- insists: counted, and never cut short
			local u, c = delay(vals[key], spec, at)
			c = math.min(c + 1, 127)
			worst = math.max(u, at + frac + wait(key, spec, c))
			keep(key, sp('>BI7I7B', 3, su('>I7', vals[key], 2), worst, c), worst + forgets(spec))
			wrote = true
		end
		return answered(0, binding, left, at, worst - now)
	end
	for i = 1, n do
		local key = KEYS[first + i - 1]
		local rest = put(key, vals[key], specs[i], at)
		if full then
			break
		elseif rest and (binding == 0 or rest < left) then
			binding, left = i, rest
		end
	end
	return answered(1, binding, left, at, 0)
end

if op == 0 then
	answers[#answers + 1] = take()
	while next <= #checks do
		answers[#answers + 1] = usual() or take()
	end
	return finish()
end

-- What follows is not made for a check: making a function takes time as well.
-- giveBack takes back what was taken at at, and returns the new value, or nil where nothing is to be had. The floor becomes at
-- least raised: to a reading before a refund the units look as if they had been held.
local function giveBack(key, v, spec, at, raised)
	if not v then
		return nil
	end
	if spec:byte() == 2 then
		local u, c = su('>I7B', v, 9)
		local w = c > 0 and wait(key, spec, c) or -1
		if w < 0 or u ~= at + (w > 0 and frac or 0) + w then
			return nil
		end
		return sp('>BI7I7B', 3, at + frac, at + frac, c - 1)
	end
	local _, _, cost, width, span = su('>BI6I6I6I6', spec)
	local format, floor, sum, pos = held(v, 0)
	local p, units = find(v, format, pos, till(at, width, span))
	if not units then
		return nil
	end
	local left = math.max(0, units - cost)
	return window(format, math.max(floor, raised), sum - units + left, v:sub(pos, p - 1)
		.. (left > 0 and sp(ENTRY[format], till(at, width, span), left) or '') .. v:sub(p + SIZE[format]))
end

local function giveAllBack(vals, at, raised)
	for i = 1, n do
		local v = giveBack(KEYS[i], vals[i], ARGV[i + 1], at, raised)
		if v then
			call('SET', KEYS[i], v, 'KEEPTTL')
		end
	end
end

-- settle moves what a check has taken at now to at, which is later: then it is held longer, and was never not held.
local function settle(vals, at)
	local moved = {}
	for i = 1, n do
		moved[i] = giveBack(KEYS[i], vals[i], ARGV[i + 1], now, 0)
		if not moved[i] then
			return '\0' -- it has ended meanwhile
		end
	end
	for i = 1, n do
		put(KEYS[i], moved[i], ARGV[i + 1], at)
	end
	call('SET', KEYS[n + 1], sp('>BBI6I7I7', 1, 0, 0, at, 0), 'PX', ttl)
	return '\1'
end

if op == 1 then -- peek
	local v, spec, at = call('GET', KEYS[1]), ARGV[2], now
	if v and spec:byte() ~= 3 then
		at = math.max(at, (su('>I7', v, 2)))
	end
	local u, sum = judge(v, spec, at)
	if spec:byte() == 3 then
		sum = u and 1 or 0
	end
	return sp('>I6I7', sum, u and u - now or 0)
elseif op == 2 then -- refund what was taken at now
	giveAllBack(call('MGET', unpack(KEYS)), now, now)
elseif op == 3 then -- give up check arg of a call: take back what it has taken, and let it take nothing any more
	local vals = call('MGET', unpack(KEYS))
	local all, from = vals[n + 1] or '', 22 * arg
	local answer = all:sub(from + 1, from + 22)
	if answer:byte() == 1 then
		local at = su('>I7', answer, 9)
		if at ~= now then
			frac = 0
		end
		giveAllBack(vals, at, 0) -- nobody was answered by it, so nothing has to be as if it had been there
	end
	all = all .. ('\3'):rep(from - #all)
	call('SET', KEYS[n + 1], all:sub(1, from) .. ('\2'):rep(22) .. all:sub(from + 23), 'PX', ttl)
elseif op == 6 then
	return settle(call('MGET', unpack(KEYS)), arg)
elseif op == 4 then -- reset
	call('DEL', unpack(KEYS))
elseif op == 5 then -- mark until arg
	local v = call('GET', KEYS[1])
	if not v or su('>I7', v, 2) < arg then
		keep(KEYS[1], sp('>BI7', 4, arg), arg)
	end
end
return ''
