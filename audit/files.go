package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	plainSuffix  = ".jsonl"
	packedSuffix = ".jsonl.gz"
	headName     = "head.json"
	lockName     = "lock"
)

// segment is one file of a log, named by its first line.
type segment struct {
	path   string
	first  uint64
	packed bool
	size   int64
}

func segmentName(first uint64) string { return fmt.Sprintf("%016d%s", first, plainSuffix) }

// segments lists the files of a directory, oldest first. A file that is there twice was being packed: the plain one counts.
func segments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	byFirst := map[uint64]segment{}
	for _, e := range entries {
		name, packed := strings.CutSuffix(e.Name(), packedSuffix)
		if !packed {
			var plain bool
			if name, plain = strings.CutSuffix(e.Name(), plainSuffix); !plain {
				continue
			}
		}
		first, err := strconv.ParseUint(name, 10, 64)
		if err != nil || first == 0 || first > maxSeq {
			continue
		}
		if _, twice := byFirst[first]; twice && packed {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // retired a moment ago
		} else if err != nil {
			return nil, err
		}
		byFirst[first] = segment{path: filepath.Join(dir, e.Name()), first: first, packed: packed, size: info.Size()}
	}
	all := make([]segment, 0, len(byFirst))
	for _, s := range byFirst {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b segment) int { return cmp.Compare(a.first, b.first) })
	return all, nil
}

// open reads a segment, packed or not.
func (s *segment) open() (io.ReadCloser, error) {
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) && !s.packed { // packed a moment ago
		if f, err = os.Open(s.path + ".gz"); err == nil {
			s.path, s.packed = s.path+".gz", true
		}
	}
	if err != nil || !s.packed {
		return f, err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{z, f}, nil
}

// pack replaces a whole file by a packed one.
func (s *segment) pack() (err error) {
	in, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer in.Close()
	tmp, err := os.CreateTemp(filepath.Dir(s.path), ".pack-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	z, _ := gzip.NewWriterLevel(tmp, gzip.BestSpeed) // the level is one; most of a line is its seal, which no level makes smaller
	_, err = io.Copy(z, in)
	if err = errors.Join(err, z.Close(), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), s.path+".gz"); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(s.path)); err != nil {
		return err
	}
	return os.Remove(s.path)
}

// lines calls with each line of r, without its end; whole is false for a last one that has none. It stops when with returns false, and
// at a line that is longer than any that was written.
func lines(r io.Reader, with func(b []byte, whole bool) bool) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var long []byte
	for {
		b, err := in.ReadSlice('\n')
		if err == bufio.ErrBufferFull || len(long) > 0 {
			if long = append(long, b...); len(long) > maxLine+1 {
				return errTooLong
			}
			if err == bufio.ErrBufferFull {
				continue
			}
			b = long
		}
		if err != nil && err != io.EOF {
			return err
		}
		text, whole := bytes.CutSuffix(b, []byte("\n"))
		if (len(text) > 0 || whole) && !with(text, whole) || err == io.EOF {
			return nil
		}
		long = long[:0]
	}
}

// head is the newest line that was on the disk for sure. It is sealed itself, and shows a tail that was cut off.
type head struct {
	Seq   uint64 `json:"seq"`
	Seal  seal   `json:"seal"` // of that line
	Key   string `json:"key"`
	Proof seal   `json:"proof"` // that who wrote this has the secret
}

func (s *sealer) proof(h *head) seal {
	return s.seal(h.Seal, fmt.Appendf(nil, "head %d", h.Seq))
}

// readHead returns the zero head where there is none.
func readHead(dir string) (h head, err error) {
	b, err := os.ReadFile(filepath.Join(dir, headName))
	if errors.Is(err, fs.ErrNotExist) {
		return head{}, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &h)
	}
	return h, err
}

// write replaces the head file. It is not synced: an older head is as true.
func (h *head) write(dir string) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, ".head")
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, headName))
}

// syncDir makes new names in a directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
