package transfer

import (
	"fmt"
	"strings"

	"github.com/rclone/rclone/fs"
)

// traits is what the engine must know of a backend and rclone's features don't say.
type traits struct {
	// sizeUntrusted: a listed size of 0 may stand for "not known" (iCloud answers so for absent sizes).
	sizeUntrusted bool
	// nfcLookup: a path as listed may be decomposed and is only found again in its composed form.
	nfcLookup bool
	// looksByListing: asking for one file lists its whole folder, so that one listing serves them all.
	looksByListing bool
	// sharedID marks in an ID what belongs to somebody else; "" where the backend has no such mark.
	sharedID string
	// readOnly says why nothing can be deleted there; "" where it can.
	readOnly string
	// echoFrom: for objects of this size in bytes and above the hash that the remote reports may be the uploader's
	// claim and not the remote's own; 0 where hashes are the remote's own at every size.
	echoFrom int64
	// recites: hashes are those that its own layer computed on the way there and wrote down: they say what was sent, and
	// nothing of what is stored.
	recites bool
	// disk: files lie on a disk of this machine.
	disk bool
	// eye: opening the remote twice costs little and shares no sign-in that two could spoil for each other (a refresh
	// token that changes with each use, a session).
	eye bool
	// atomic: an upload can be seen when it is whole and committed, and not before.
	atomic bool
	// gathers: fresh looks at the files of one folder wait a moment for each other, so that one listing serves them.
	gathers bool
}

// knownTraits is by the Go package of the backend, with the type where a package has several.
func knownTraits() map[string]traits {
	return map[string]traits{
		"icloud.Fs": {sizeUntrusted: true, looksByListing: true, sharedID: "SHARED", gathers: true, atomic: true},
		// Only as the inside of a wrapper (crypt, chunker): else icloud.Fs stands in its place.
		"iclouddrive.Fs": {sizeUntrusted: true, nfcLookup: true, looksByListing: true, sharedID: "SHARED",
			readOnly: "below another remote, rclone deletes whatever has the name by then, also a newer version"},
		"iclouddrive.PhotosFs": {sizeUntrusted: true, nfcLookup: true, looksByListing: true,
			readOnly: "iCloud Photos can't be changed from outside"},
		"http.Fs":            {sizeUntrusted: true, readOnly: "a plain web server can't delete files"},
		"googlephotos.Fs":    {sizeUntrusted: true, readOnly: "Google Photos lets no program delete files"},
		"archive.Fs":         {readOnly: "archives are opened for reading only"},
		"doi.Fs":             {readOnly: "published data sets can't be changed"},
		"union.Fs":           {readOnly: "a union deletes what has the name on each of its remotes, also what was never read"},
		"internetarchive.Fs": {sizeUntrusted: true},
		// Multipart uploads keep the MD5 that the uploader named; 5 MiB is the smallest part S3 takes.
		"s3.Fs":     {echoFrom: 5 << 20, eye: true, gathers: true},
		"webdav.Fs": {eye: true, gathers: true},
		"hasher.Fs": {recites: true}, "chunker.Fs": {recites: true}, "compress.Fs": {recites: true},
		"dropbox.Fs": {gathers: true, atomic: true},
		"local.Fs":   {disk: true},
	}
}

// traitsOf joins the traits of f and of every remote that f wraps (crypt, chunker, compress...): a doubt about the
// wrapped remote is a doubt about the wrapper.
func traitsOf(f fs.Fs) traits {
	known := knownTraits()
	var t traits
	layers := layersOf(f)
	t.eye = len(layers) == 1 && known[typeOf(f)].eye // a wrapper may have a sign-in of its own
	t.gathers = len(layers) == 1 && known[typeOf(f)].gathers
	t.atomic = len(layers) == 1 && known[typeOf(f)].atomic
	for _, typ := range append(typesOf(layers), joinedTypes(layers)...) {
		k := known[typ]
		t.sizeUntrusted = t.sizeUntrusted || k.sizeUntrusted
		t.nfcLookup = t.nfcLookup || k.nfcLookup
		t.looksByListing = t.looksByListing || k.looksByListing
		t.recites = t.recites || k.recites
		t.disk = t.disk || k.disk
		if t.sharedID == "" {
			t.sharedID = k.sharedID
		}
		if t.readOnly == "" {
			t.readOnly = k.readOnly
		}
		if t.echoFrom == 0 {
			t.echoFrom = k.echoFrom
		}
	}
	return t
}

// ofOurs are the traits for objects that the engine has written: with them no claim was sent that could be echoed.
func (t traits) ofOurs() traits { return traits{recites: t.recites} }

// layersOf is f and what it wraps, outermost first.
func layersOf(f fs.Fs) []fs.Fs {
	var layers []fs.Fs
	for f != nil && len(layers) < 16 {
		layers = append(layers, f)
		unwrap := f.Features().UnWrap
		if unwrap == nil {
			break
		}
		f = unwrap()
	}
	return layers
}

func typesOf(layers []fs.Fs) (types []string) {
	for _, layer := range layers {
		types = append(types, typeOf(layer))
	}
	return types
}

// joinedTypes are the types that the remotes below a combine or a union may have, which rclone doesn't unwrap.
func joinedTypes(layers []fs.Fs) (types []string) {
	left := 64 // remotes may be configured in a circle
	var follow func(remote string)
	follow = func(remote string) {
		info, _, _, config, err := fs.ConfigFs(remote)
		if left--; err != nil || left < 0 {
			return
		}
		for typ := range knownTraits() {
			if strings.HasPrefix(typ, strings.ReplaceAll(info.Name, " ", "")+".") {
				types = append(types, typ)
			}
		}
		if inner, _ := config.Get("remote"); inner != "" && info.Name != "local" {
			follow(inner)
		}
		var joined fs.SpaceSepList
		if list, _ := config.Get("upstreams"); joined.Set(list) == nil {
			for _, inner := range joined {
				if info.Name == "combine" {
					_, inner, _ = strings.Cut(inner, "=")
				}
				for _, mode := range []string{":ro", ":nc", ":writeback"} {
					inner = strings.TrimSuffix(inner, mode)
				}
				follow(inner)
			}
		}
	}
	for _, layer := range layers {
		if t := typeOf(layer); t == "combine.Fs" || t == "union.Fs" {
			follow(fs.ConfigStringFull(layer))
		}
	}
	return types
}

// typeOf is a backend's Go type without the star: "local.Fs".
func typeOf(f fs.Fs) string { return strings.TrimPrefix(fmt.Sprintf("%T", f), "*") }
