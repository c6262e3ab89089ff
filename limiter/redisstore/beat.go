package redisstore

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/redis/rueidis"
)

// BeatEvery is how often a sidecar says that it is there; one that is silent for three times as long is gone.
const BeatEvery = 5 * time.Second

// beatSource: KEYS[1] ranks sidecars by when they were heard, by the server's clock. ARGV: who, and for how many seconds it counts.
const beatSource = `local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. now - ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[2] * 2)
return redis.call('ZCARD', KEYS[1])`

// Beat says that this sidecar is there, and tells how many are.
func (s *Store) Beat(ctx context.Context) (members int, err error) {
	key := s.named("members", "beats")
	err = s.beside(ctx, key, besideTimeout, func(ctx context.Context, c rueidis.Client) error {
		n, err := s.beatScript.Exec(ctx, c, []string{key}, []string{hex.EncodeToString(s.session[:]), "15"}).AsInt64()
		members = int(n)
		return err
	})
	return members, err
}
