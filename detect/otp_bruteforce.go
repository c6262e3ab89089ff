package detect

// OTP brute force: wrong codes for one number, fading over six hours. There is no exemption for the owner's address blocks: an
// attacker behind the owner's own carrier would share it.
const (
	bruteLimit = 5.
	bruteHold  = 2 * hour
)

func (e *Engine) wrongCode(n *numberCell, k *keep, h uint64, number uint64, c Country, now tick) {
	n.failed++
	if n.failed >= bruteLimit {
		e.hold(n, k, h, now, now+bruteHold, e.numberSignal(OTPBruteforce, number, c, n, float64(n.failed), bruteLimit))
	}
}
