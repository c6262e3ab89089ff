package main

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/minio/sio"
)

// A sealed file begins with a random salt, from which and the secret comes the key of all that follows: AES-256-GCM in parts of 64
// KiB (DARE 2.0), each authenticated with its place, so that nothing is read that was changed, swapped or cut off.
const sealSalt = 32

// errSealed is about a file that was sealed with another secret, or changed.
var errSealed = errors.New("sealed with another secret, or damaged")

func sealConfig(secret, salt []byte) (sio.Config, error) {
	key, err := hkdf.Key(sha256.New, secret, salt, "sendgate sealed file 1", 32)
	if err != nil {
		return sio.Config{}, fmt.Errorf("derive the key of a file: %w", err)
	}
	return sio.Config{MinVersion: sio.Version20, Key: key}, nil
}

// seal writes to w what write is asked for, for those only who know the secret.
func seal(w io.Writer, secret []byte, write func(io.Writer) error) error {
	salt := make([]byte, sealSalt)
	rand.Read(salt) // never fails
	config, err := sealConfig(secret, salt)
	if err != nil {
		return err
	}
	if _, err := w.Write(salt); err != nil {
		return err
	}
	sealed, err := sio.EncryptWriter(struct{ io.Writer }{w}, config) // it would close a file with itself
	if err != nil {
		return err
	}
	return errors.Join(write(sealed), sealed.Close())
}

// unseal has read read what seal wrote. The error is errSealed where the file is not what was written.
func unseal(r io.Reader, secret []byte, read func(io.Reader) error) error {
	salt := make([]byte, sealSalt)
	if _, err := io.ReadFull(r, salt); err != nil {
		return errSealed
	}
	config, err := sealConfig(secret, salt)
	if err != nil {
		return err
	}
	plain, err := sio.DecryptReader(r, config)
	if err != nil {
		return err
	}
	in := &sealReader{Reader: plain}
	if err := read(in); in.bad == nil {
		return err
	}
	return errSealed
}

// sealReader notes what was wrong with the seal: who reads from it may tell another story.
type sealReader struct {
	io.Reader
	bad error
}

func (r *sealReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	var bad sio.Error
	if errors.As(err, &bad) {
		r.bad = bad
	}
	return n, err
}
