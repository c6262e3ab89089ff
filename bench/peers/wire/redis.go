package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strconv"
	"time"
)

// redisCaller asks redis-cell over a connection of its own.
type redisCaller struct {
	addr string
	rule rule
	conn net.Conn
	in   *bufio.Reader
	out  []byte
}

func (c *redisCaller) ask(a ask) (bool, error) {
	if c.conn == nil {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			return false, err
		}
		c.conn, c.in = conn, bufio.NewReader(conn)
	}
	// CL.THROTTLE key burst count period: it admits burst+1 at once, and count each period.
	limit := strconv.Itoa(c.rule.limit)
	c.out = c.out[:0]
	c.out = append(c.out, "*5\r\n"...)
	for _, word := range []string{"CL.THROTTLE", a.number, strconv.Itoa(c.rule.limit - 1), limit, strconv.Itoa(int(c.rule.window.Seconds()))} {
		c.out = fmt.Appendf(c.out, "$%d\r\n%s\r\n", len(word), word)
	}
	if err := c.conn.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return false, err
	}
	if _, err := c.conn.Write(c.out); err != nil {
		c.close()
		return false, err
	}
	limited := false
	for i := range 6 { // "*5", then limited, limit, remaining, retry after, reset
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			c.close()
			return false, err
		}
		if line[0] == '-' {
			return false, fmt.Errorf("redis: %s", bytes.TrimSpace(line[1:]))
		}
		if i == 1 {
			limited = line[1] == '1'
		}
	}
	return !limited, nil
}

func (c *redisCaller) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}
