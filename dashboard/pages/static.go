package pages

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"mime"
	"net/http"
	"path"
)

//go:embed static
var staticFiles embed.FS

// assets are the fixed files: their texts, and a mark of each that changes with it.
type assets map[string]asset

type asset struct {
	text []byte
	mark string
	kind string
}

func newAssets() assets {
	entries, err := staticFiles.ReadDir("static")
	if err != nil {
		panic(err) // embedded: can't fail
	}
	all := assets{}
	for _, e := range entries {
		text, err := staticFiles.ReadFile("static/" + e.Name())
		if err != nil {
			panic(err) // embedded: can't fail
		}
		sum := sha256.Sum256(text)
		all[e.Name()] = asset{text, hex.EncodeToString(sum[:6]), mime.TypeByExtension(path.Ext(e.Name()))}
	}
	return all
}

// address is where a fixed file is found. Its mark is in it, so that a browser may keep it for good.
func (a assets) address(name string) string { return "/static/" + name + "?v=" + a[name].mark }

func (p *Pages) routesStatic(mux *http.ServeMux) {
	mux.HandleFunc("GET /static/{name}", func(w http.ResponseWriter, r *http.Request) {
		file, ok := p.assets[r.PathValue("name")]
		if !ok {
			p.fail(w, r, http.StatusNotFound, "There is no such file", "Go back to the pages.")
			return
		}
		w.Header().Set("Content-Type", file.kind)
		w.Header().Set("Cache-Control", "public, max-age=300")
		if r.URL.Query().Get("v") == file.mark {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		_, _ = w.Write(file.text)
	})
}
