package console_test

import (
	"bytes"
	"cmp"
	"flag"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/chromedp/chromedp"
)

var images = flag.String("images", "", "folder to write the pictures of the documentation to")

// shoot writes a picture of what is seen.
func (p *page) shoot(name string) {
	p.Helper()
	if *images == "" {
		return
	}
	shot, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.fail(err)
	}
	picture, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		p.Fatal(err)
	}
	var small bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, paletted(picture)); err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*images, name+".png"), small.Bytes(), 0o644); err != nil {
		p.Fatal(err)
	}
}

// settle lets the charts fill for a while, for a picture that shows something.
func (p *page) settle() {
	if *images != "" {
		time.Sleep(45 * time.Second)
	}
}

// paletted keeps the 256 most frequent colours. A page has few, beside the edges of letters.
func paletted(in image.Image) *image.Paletted {
	count := make(map[color.RGBA]int)
	each := func(do func(x, y int, c color.RGBA)) {
		for y := in.Bounds().Min.Y; y < in.Bounds().Max.Y; y++ {
			for x := in.Bounds().Min.X; x < in.Bounds().Max.X; x++ {
				do(x, y, color.RGBAModel.Convert(in.At(x, y)).(color.RGBA))
			}
		}
	}
	each(func(_, _ int, c color.RGBA) { count[c]++ })
	colors := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int { return cmp.Compare(count[b], count[a]) })
	palette := make(color.Palette, min(len(colors), 256))
	for i := range palette {
		palette[i] = colors[i]
	}
	place := make(map[color.RGBA]uint8)
	for _, c := range colors {
		place[c] = uint8(palette.Index(c))
	}
	out := image.NewPaletted(in.Bounds(), palette)
	each(func(x, y int, c color.RGBA) { out.SetColorIndex(x, y, place[c]) })
	return out
}
