package consent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// FileName is the name of the file that OpenFile makes in its folder.
const FileName = "consent.db"

// groupChanges is about how many changes one transaction takes. A sync takes longer than writing that many.
const groupChanges = 4096

// File is a Store in one file. One process can have it open.
//
// One goroutine writes. While it syncs, callers queue up, and the next transaction takes all of them: what a sync costs is
// shared.
type File struct {
	db    *bbolt.DB
	queue chan *group
	done  chan struct{} // closed when the writer has ended

	mu     sync.RWMutex // held for reading while a caller puts something into the queue
	closed bool
}

// group is what one caller of Apply waits for.
type group struct {
	changes []Change
	result  chan error
}

var _ Store = (*File)(nil)

// OpenFile opens the store in a folder, which is made if it is not there.
func OpenFile(dir string) (*File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("consent: %w", err)
	}
	db, err := bbolt.Open(filepath.Join(dir, FileName), 0o600, &bbolt.Options{
		Timeout: 2 * time.Second, FreelistType: bbolt.FreelistMapType,
		// The list of free pages is found again when the file is opened: less to write in each transaction.
		NoFreelistSync: true,
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("consent: %s is in use by another process: stop it, or give this one its own folder", filepath.Join(dir, FileName))
	case err != nil:
		return nil, fmt.Errorf("consent: %s: %w", FileName, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, k := range Kinds() {
			if _, err := tx.CreateBucketIfNotExists([]byte(k.String())); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("consent: %s: %w", FileName, err), db.Close())
	}
	f := &File{db: db, queue: make(chan *group, 1024), done: make(chan struct{})}
	go f.write()
	return f, nil
}

// Apply does what Store says. A context that ends while the changes are being written does not take them back.
func (f *File) Apply(ctx context.Context, changes ...Change) error {
	if err := CheckChanges(changes); err != nil {
		return err
	}
	g := &group{changes, make(chan error, 1)}
	if err := f.enqueue(ctx, g); err != nil {
		return err
	}
	return <-g.result
}

func (f *File) enqueue(ctx context.Context, g *group) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed {
		return ErrClosed
	}
	select {
	case f.queue <- g:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write is the only goroutine that changes the file.
func (f *File) write() {
	defer close(f.done)
	for first := range f.queue {
		groups, n := []*group{first}, len(first.changes)
		for more := true; more && n < groupChanges; {
			select {
			case g, ok := <-f.queue:
				if more = ok; ok {
					groups, n = append(groups, g), n+len(g.changes)
				}
			default:
				more = false
			}
		}
		err := f.db.Update(func(tx *bbolt.Tx) error {
			for _, g := range groups {
				for _, c := range g.changes {
					if err := apply(tx.Bucket([]byte(c.Kind.String())), c); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			err = fmt.Errorf("consent: %s: %w", FileName, err)
		}
		for _, g := range groups {
			g.result <- err
		}
	}
}

func apply(b *bbolt.Bucket, c Change) error {
	if c.Value == nil {
		return b.Delete(c.Key)
	}
	return b.Put(c.Key, c.Value)
}

// Scan does what Store says.
func (f *File) Scan(ctx context.Context, kind Kind, prefix []byte, each func(key, value []byte) error) error {
	if kind.String() == "unknown" {
		return fmt.Errorf("consent: scan of kind %d: use one of Kinds", kind)
	}
	err := f.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(kind.String())).Cursor()
		for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := each(k, v); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}

// Close does what Store says.
func (f *File) Close() error {
	f.mu.Lock()
	already := f.closed
	f.closed = true
	f.mu.Unlock()
	if already {
		return nil
	}
	close(f.queue)
	<-f.done
	return f.db.Close()
}

// syncDir makes the file's name durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
