package main

import (
	"strings"
	"testing"
)

func badRemotes() []badLine {
	add := func(name, args, want string) badLine {
		return badLine{name: "add " + name, args: "remotes add " + args, want: want}
	}
	return []badLine{
		add("nothing", "", "needs NAME"),
		add("empty name", `\e`, "NAME of remotes add is empty"),
		add("blank name", `\s`, "is empty"),
		add("name with a colon", "a:b --type memory", "is no name for a remote"),
		add("name with a slash", "a/b --type memory", "is no name for a remote"),
		add("only a colon", ": --type memory", "is no name for a remote"),
		add("name like a flag", "--type memory -- -x", "is no name for a remote"),
		add("name with a line", "a\x07b --type memory", "is no name for a remote"),
		add("name that isn't UTF-8", "a\xff --type memory", "is no name for a remote"),
		add("emoji", "\U0001F600 --type memory", "is no name for a remote"),
		add("long name", strings.Repeat("x", 65)+" --type memory", "at most 64"),
		add("existing name", "first --type memory", "called first already"),
		add("unknown word", "nocloud", "its kind must be named"),
		add("unknown kind", "x --type nocloud", "no kind of remote"),
		add("empty kind", `x --type \e`, "--type is empty"),
		add("unknown key", "x --type memory url=y", "no key"),
		add("no value", "x --type webdav url", "isn't KEY=VALUE"),
		add("key twice", "x --type webdav url=a url=b", "given twice"),
		add("secret in the arguments", "x --type webdav url=http://127.0.0.1:1 pass=hunter2", "is a secret"),
		add("token in the arguments", "x --type dropbox token=hunter2", "is a secret"),
		add("secret file missing", "x --type webdav pass=@{dir}/none", "no such file"),
		add("secret file is a folder", "x --type webdav pass=@{dir}/a", "directory"),
		add("no terminal and no answer", "x --type s3 provider=AWS --no-check --code 123456", "--code is for iCloud"),
		add("no Apple ID", "icloud", "Apple ID is needed"),
		add("no password", "icloud --apple-id anna@example.com", "password of the Apple ID is needed"),
		add("empty Apple ID", `icloud --apple-id \e --password-stdin`, "--apple-id"),
		add("control character", "icloud --apple-id a\x1b[2J", "--apple-id"),
		add("empty stdin", "icloud --apple-id anna@example.com --password-stdin", "stdin is empty"),
		add("code without a sign-in", "icloud --code 123456", "waits for a code"),
		add("code of letters", "icloud --code abcdef", "is no code"),
		add("code in Arabic digits", "icloud --code ١٢٣٤٥٦", "is no code"),
		add("long code", "icloud --code 1234567890123", "is no code"),
		add("phone zero", "icloud --phone 0", "--phone"),
		add("Apple ID for Dropbox", "dropbox --apple-id a@b", "is for iCloud"),
		add("token for iCloud", "icloud --token-stdin", "no such thing"),
		add("app key for memory", "x --type memory --client-id y", "no such thing"),
		{name: "add two secrets from stdin", args: "remotes add dropbox --token-stdin --client-secret-stdin", stdin: "hunter2hunter2", want: "one secret"},
		{name: "add a token that isn't one", args: "remotes add dropbox --token-stdin", stdin: "hunter2 with words", want: "isn't one"},
		{name: "add a token without access", args: "remotes add dropbox --token-stdin", stdin: `{"refresh_token":"hunter2"}`, want: "no access_token"},
		{name: "add without a browser", args: "remotes add dropbox", want: "needs a browser"},
		{name: "add with a missing password file", args: "remotes add icloud --apple-id a@b", env: "OFFLOAD_APPLE_PASSWORD_FILE={dir}/none", want: "no such file"},
		{name: "a file of certificates that is missing", args: "remotes list", env: "RCLONE_CA_CERT={dir}/none.pem", want: "no such file"},
		{name: "a file of certificates without any", args: "remotes list", env: "RCLONE_CA_CERT={dir}/rclone.conf", want: "no certificate"},
		{name: "a time that isn't one", args: "remotes list", env: "RCLONE_TIMEOUT=soon", want: "RCLONE_TIMEOUT"},
		{name: "a password file that is missing", args: "remotes add m --type memory", env: "OFFLOAD_CONFIG_PASS_FILE={dir}/none", want: "no such file"},
		{name: "reconnect unknown", args: "remotes reconnect nowhere", want: "no remote called nowhere:"},
		{name: "reconnect what has no sign-in", args: "remotes reconnect first", want: "nobody signs in to"},
		{name: "reconnect a path", args: "remotes reconnect first:x/y", want: "is no name for a remote"},
		{name: "remove unknown", args: "remotes remove nowhere --yes", want: "no remote called nowhere:"},
		{name: "remove from rclone.conf", args: "remotes remove first --yes", want: "rclone.conf"},
		{name: "import a missing file", args: "remotes import {dir}/none", want: "no such file"},
		{name: "import a folder", args: "remotes import {dir}/a", want: "is no rclone.conf"},
		{name: "import an unknown name", args: "remotes import {dir}/rclone.conf third", want: "no remote called third"},
		{name: "import a text", args: "remotes import {dir}/x.yaml", file: "Dear hunter2,\n", want: "rclone.conf"},
		{name: "import an unknown kind", args: "remotes import {dir}/x.yaml", file: "[a]\ntype = nocloud\n", want: "unknown kind"},
		{name: "import a bad name", args: "remotes import {dir}/x.yaml", file: "[a/b]\ntype = memory\n", want: "is no name"},
		{name: "import an encrypted file", args: "remotes import {dir}/x.yaml", file: "RCLONE_ENCRYPT_V0:\nAAAA\n", want: "password is missing or wrong"},
	}
}

// TestBadRemotes is TestBadInput for the commands that keep remotes: nothing is added by any of them.
func TestBadRemotes(t *testing.T) {
	for _, tt := range badRemotes() {
		t.Run(tt.name, func(t *testing.T) { tt.check(t) })
	}
}
