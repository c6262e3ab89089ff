// Command image makes the container image without a daemon: an OCI archive that podman, skopeo, crane, containerd and Docker (25 and
// later) read. It holds the same as deploy/docker/Dockerfile: a static binary on nothing. The same input gives the same bytes.
//
//	image -out sendgate.oci.tar -version v1.2.3 -time 1700000000 linux/amd64=BINARY linux/arm64=BINARY
package main

import (
	"archive/tar"
	"bytes"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	state  = "/var/lib/sendgate"
	nobody = 65532 // distroless' nonroot
)

func main() {
	out := flag.String("out", "sendgate.oci.tar", "the archive to write")
	version := flag.String("version", "unknown", "of the program")
	when := flag.Int64("time", 0, "seconds since 1970 that everything in the image carries")
	certs := flag.String("certs", "/etc/ssl/certs/ca-certificates.crt", "roots for TLS to Redis and webhooks; empty: none")
	flag.Parse()
	if err := build(*out, *version, time.Unix(*when, 0).UTC(), *certs, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func build(out, version string, when time.Time, certs string, binaries []string) error {
	if len(binaries) == 0 {
		return fmt.Errorf("write platforms and binaries, such as linux/amd64=bin/sendgate")
	}
	base, err := baseLayer(when, certs)
	if err != nil {
		return err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arg := range binaries {
		name, path, _ := strings.Cut(arg, "=")
		platform, err := v1.ParsePlatform(name)
		if err != nil || path == "" {
			return fmt.Errorf("%q: write OS/ARCH=BINARY", arg)
		}
		img, err := image(base, platform, path, version, when)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
	}
	dir, err := os.MkdirTemp("", "oci")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// The outer index is the archive's; the tag is what `podman load` names the image.
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := p.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": version, "io.containerd.image.name": "sendgate:" + version})); err != nil {
		return err
	}
	return archive(out, dir, when)
}

func image(base v1.Layer, platform *v1.Platform, path, version string, when time.Time) (v1.Image, error) {
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	layer, err := layerOf(when, entry{name: "sendgate", mode: 0o755, content: program})
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if img, err = mutate.AppendLayers(img, base, layer); err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS, file.Variant = platform.Architecture, platform.OS, platform.Variant
	file.Created = v1.Time{Time: when}
	file.Config = v1.Config{
		Entrypoint: []string{"/sendgate"}, Cmd: []string{"serve"}, User: fmt.Sprintf("%d:%d", nobody, nobody), StopSignal: "SIGTERM",
		Env:          []string{"PATH=/", "SENDGATE_DATA=" + state},
		ExposedPorts: map[string]struct{}{"7070/tcp": {}, "7071/tcp": {}}, Volumes: map[string]struct{}{state: {}},
		Labels: map[string]string{"org.opencontainers.image.title": "sendgate", "org.opencontainers.image.version": version,
			"org.opencontainers.image.source": "https://github.com/sendgate/sendgate", "org.opencontainers.image.licenses": "Apache-2.0"},
	}
	return mutate.ConfigFile(img, file)
}

// entry is a file, or a folder where there is no content.
type entry struct {
	name    string
	mode    int64
	owner   int
	content []byte
}

func baseLayer(when time.Time, certs string) (v1.Layer, error) {
	entries := []entry{{name: "var/", mode: 0o755}, {name: "var/lib/", mode: 0o755}, {name: state[1:] + "/", mode: 0o700, owner: nobody},
		{name: "etc/", mode: 0o755}, {name: "etc/passwd", mode: 0o644, content: fmt.Appendf(nil, "sendgate:x:%d:%d::%s:/\n", nobody, nobody, state)}}
	if certs != "" {
		roots, err := os.ReadFile(certs)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry{name: "etc/ssl/", mode: 0o755}, entry{name: "etc/ssl/certs/", mode: 0o755},
			entry{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, content: roots})
	}
	return layerOf(when, entries...)
}

func layerOf(when time.Time, entries ...entry) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: e.mode, Uid: e.owner, Gid: e.owner, Size: int64(len(e.content)), ModTime: when, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if strings.HasSuffix(e.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }, tarball.WithMediaType(types.OCILayer))
}

// archive writes a folder as a tar, in the order of names.
func archive(out, dir string, when time.Time) error {
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if err != nil || d.IsDir() || name == "." {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Mode: 0o644, Size: int64(len(content)), ModTime: when, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	}); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Close()
}
