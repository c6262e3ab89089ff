-- A map that is read by what changed: KEYS[1] is a hash of values, and under '' its epoch; KEYS[2] ranks fields by revision.
local call = redis.call
local epoch = call('HGET', KEYS[1], '') or ''
if ARGV[1] == 'put' then
	if epoch == '' then
		call('DEL', KEYS[2])
		call('HSET', KEYS[1], '', ARGV[2])
	end
	local newest = call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
	local rev = tonumber(newest[2] or 0)
	for i = 3, #ARGV, 2 do
		local old = call('HGET', KEYS[1], ARGV[i])
		if not old or struct.unpack('>I8', old) < struct.unpack('>I8', ARGV[i + 1]) then
			rev = rev + 1
			call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
			call('ZADD', KEYS[2], rev, ARGV[i])
		end
	end
	return rev
end
local from = epoch == ARGV[2] and tonumber(ARGV[3]) or 0
local fields = call('ZRANGEBYSCORE', KEYS[2], '(' .. from, '+inf', 'WITHSCORES', 'LIMIT', 0, 500)
local out = { epoch, from }
for i = 1, #fields, 2 do
	out[#out + 1] = fields[i]
	out[#out + 1] = call('HGET', KEYS[1], fields[i]) or ''
	out[2] = tonumber(fields[i + 1])
end
return out
