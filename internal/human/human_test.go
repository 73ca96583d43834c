package human

import (
	"testing"
	"time"
)

func TestWords(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Size(-1), "unlimited"}, {Size(0), "0 B"}, {Size(1536), "1.5 KiB"}, {Number(1204), "1,204"},
		{Count(0, "file"), "0 files"}, {Count(1, "file"), "1 file"}, {Count(1204, "file"), "1,204 files"}, {Count(2, "entry"), "2 entries"}, {Count(2, "day"), "2 days"},
		{Span(0, ""), "0s"}, {Span(65*time.Minute, ""), "1h 5m"}, {Span(50*time.Hour, " "), "2 d 2 h"}, {Span(1500*time.Millisecond, ""), "2s"}, {Span(time.Hour, " "), "1 h"},
		{Printable("plain ä é 日本"), "plain ä é 日本"}, {Printable("a\x1b[31m"), `a\x1b[31m`}, {Printable("a\u202eb"), `a\u202eb`}, {Printable("\xff"), `\xff`},
		{Printable("e\u0301"), "e\u0301"}, {Printable("👨\u200d👩"), "👨\u200d👩"}, {Printable("\ufffd"), `\xef`},
		{Ordinal(1), "1st"}, {Ordinal(2), "2nd"}, {Ordinal(3), "3rd"}, {Ordinal(8), "8th"}, {Ordinal(11), "11th"}, {Ordinal(12), "12th"}, {Ordinal(13), "13th"}, {Ordinal(22), "22nd"},
		{TriedAgain(1, "a\x1b", 3, 8, "source: EOF"), `1 file failed and is tried again (3rd of 8 tries): a\x1b: source: EOF`},
		{TriedAgain(1204, "a", 2, 5, "b\u202e"), `1,204 files failed and are tried again, one of them (2nd of 5 tries): a: b\u202e`},
		{Cell(""), ""}, {Cell("a=1"), "a=1"}, {Cell("=1+1"), "'=1+1"}, {Cell("+1"), "'+1"}, {Cell("-1"), "'-1"}, {Cell("@a"), "'@a"}, {Cell("\t=1"), "'\t=1"},
		{Cell("\r=1"), "'\r=1"}, {Cell("é=1"), "é=1"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x00b")
	f.Fuzz(func(t *testing.T, s string) {
		if once := Printable(s); Printable(once) != once {
			t.Errorf("%q becomes %q, then %q", s, once, Printable(once))
		}
	})
}
