package server

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	assets "github.com/sendgate/sendgate/console"
)

// asset is a file of the page.
type asset struct {
	kind, tag     string
	plain, zipped []byte
}

func readAssets() (map[string]*asset, error) {
	files := make(map[string]*asset)
	err := fs.WalkDir(assets.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		a := &asset{kind: kinds[path.Ext(name)]}
		if a.plain, err = fs.ReadFile(assets.Files, name); err != nil || a.kind == "" {
			return err
		}
		sum := sha256.Sum256(a.plain)
		a.tag = `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
		var zipped bytes.Buffer
		zip := gzip.NewWriter(&zipped)
		if _, err := zip.Write(a.plain); err != nil {
			return err
		}
		if err := zip.Close(); err != nil {
			return err
		}
		a.zipped = zipped.Bytes()
		files[strings.TrimPrefix(name, assets.Root+"/")] = a
		return nil
	})
	return files, err
}

var kinds = map[string]string{".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

func (c *console) serveFile(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	if name == "" {
		name = "index.html"
	}
	a := c.files[name]
	if a == nil {
		writeFailure(w, &failure{code: codes.NotFound, reason: "NO_SUCH_PATH", message: "the console has no such file: open " + consolePath})
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Cache-Control", "no-cache") // asked again each time, and seldom sent
	h.Set("ETag", a.tag)
	h.Set("Vary", "Accept-Encoding")
	body := a.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = a.zipped
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}
