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
		"internetarchive.Fs": {sizeUntrusted: true},
		// Multipart uploads keep the MD5 that the uploader named; 5 MiB is the smallest part S3 takes.
		"s3.Fs":      {echoFrom: 5 << 20, eye: true, gathers: true},
		"webdav.Fs":  {eye: true, gathers: true},
		"dropbox.Fs": {gathers: true, atomic: true},
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
	for _, layer := range layers {
		k := known[typeOf(layer)]
		t.sizeUntrusted = t.sizeUntrusted || k.sizeUntrusted
		t.nfcLookup = t.nfcLookup || k.nfcLookup
		t.looksByListing = t.looksByListing || k.looksByListing
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

// typeOf is a backend's Go type without the star: "local.Fs".
func typeOf(f fs.Fs) string { return strings.TrimPrefix(fmt.Sprintf("%T", f), "*") }
