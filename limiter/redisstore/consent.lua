-- Records of consent. KEYS[1] is a hash of all records, a field being a kind and a key; KEYS[2] holds the fields in their order; KEYS[3]
-- ranks those that were changed lately by revision; KEYS[4] says how far revisions are.
local call = redis.call
local records, order, changed, about = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local op = ARGV[1]

-- scan from, below, most: records in the order of their keys.
if op == 'scan' then
	local fields = call('ZRANGEBYLEX', order, ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
	local out = {}
	for i, value in ipairs(#fields > 0 and call('HMGET', records, unpack(fields)) or {}) do
		out[2 * i - 1], out[2 * i] = fields[i], value or ''
	end
	return out
end

local known = call('HMGET', about, 'epoch', 'rev', 'run', 'began', 'floor', 'mark', 'marked')
local epoch, rev, began = known[1], tonumber(known[2] or 0), tonumber(known[4] or 0)
-- After a restart or a failover this is another run of the server. It may have lost what was newer than where it begins.
local info = redis.pcall('INFO', 'replication')
local run = type(info) == 'string' and info:match('master_replid:(%x+)') or ''
if epoch and known[3] ~= run then
	began = rev
	call('HSET', about, 'run', run, 'began', began)
end

-- apply epoch, kinds, keep, then a field and + with its value, or -: changes in their order. Those of some kinds are told for keep seconds, or
-- twice that.
if op == 'apply' then
	if not epoch then
		call('HSET', about, 'epoch', ARGV[2], 'run', run, 'began', 0)
	end
	local now, marked = tonumber(call('TIME')[1]), tonumber(known[7] or 0)
	if now - marked >= tonumber(ARGV[4]) or now < marked then
		if known[6] and now >= marked then
			call('ZREMRANGEBYSCORE', changed, '-inf', known[6])
			call('HSET', about, 'floor', known[6])
		end
		call('HSET', about, 'mark', rev, 'marked', now)
	end
	for i = 5, #ARGV, 2 do
		local field, value = ARGV[i], ARGV[i + 1]
		rev = rev + 1
		if value:byte() == 43 then
			call('HSET', records, field, value:sub(2))
			call('ZADD', order, 0, field)
		else
			call('HDEL', records, field)
			call('ZREM', order, field)
		end
		if ARGV[3]:find(field:sub(1, 1), 1, true) then
			call('ZADD', changed, rev, field)
		end
	end
	call('HSET', about, 'rev', rev)
	call('EXPIRE', changed, 2 * ARGV[4])
	return ''
end

-- after epoch, rev, most: what was changed since, as it is now.
epoch = (epoch or '') .. ' ' .. run
local from = tonumber(ARGV[3])
if epoch ~= ARGV[2] or from < tonumber(known[5] or 0) or from > rev or from < rev and call('EXISTS', changed) == 0 then
	return { epoch, rev, 1, began }
end
local fields = call('ZRANGEBYSCORE', changed, '(' .. from, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[4])
local out = { epoch, rev, 0, began }
if #fields == 2 * ARGV[4] then
	out[2] = tonumber(fields[#fields])
end
for i = 1, #fields, 2 do
	local value = call('HGET', records, fields[i])
	out[#out + 1] = fields[i]
	out[#out + 1] = value and '+' .. value or '-'
end
return out
