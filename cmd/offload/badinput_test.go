package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// badLine is a wrong command line or configuration. In args, env and file, {dir} is the test's own folder.
type badLine struct {
	name  string
	args  string // words, split at blanks; \s stands for a blank within a word, \e for an empty word
	env   string // NAME=VALUE
	file  string // content of {dir}/x.yaml
	stdin string
	want  string // part of the message
}

func badLines() []badLine {
	run := func(name, flags, want string) badLine {
		return badLine{name: name, args: "run {dir}/a {dir}/b " + flags, want: want}
	}
	quotaSet := func(name, flags, want string) badLine {
		return badLine{name: "quota " + name, args: "quota set " + flags, want: want}
	}
	config := func(name, file, want string) badLine {
		return badLine{name: name, args: "jobs list --config {dir}/x.yaml", file: file, want: want}
	}
	deleting := "--delete-source verified "
	return []badLine{
		// commands, flags and arguments
		{name: "unknown command", args: "runn a b", want: `unknown command "runn"`},
		{name: "unknown subcommand", args: "jobs lsit", want: `unknown command "lsit"`},
		{name: "command missing", args: "jobs", want: "needs a command"},
		{name: "only a flag", args: "--json", want: "needs a command"},
		{name: "unknown flag", args: "run a b --delete-sources never", want: "unknown flag --delete-sources"},
		{name: "flag of another command", args: "jobs list --delete-source never", want: "unknown flag"},
		{name: "flag before its command", args: "--label x run a b", want: "unknown flag --label"},
		{name: "flag without value", args: "run a b --hold", want: "needs a value"},
		{name: "bool with a word", args: "jobs list --json=perhaps", want: "json"},
		{name: "no arguments", args: "run", want: "needs SRC and DST"},
		{name: "one argument", args: "enqueue {dir}/a", want: "needs DST"},
		{name: "three arguments", args: "plan {dir}/a {dir}/b c", want: `doesn't take "c"`},
		{name: "empty argument", args: `run \e {dir}/b`, want: "SRC of run is empty"},
		{name: "argument for list", args: "jobs list all", want: `doesn't take "all"`},
		{name: "argument after dashes", args: "jobs list -- --json", want: `doesn't take "--json"`},
		{name: "unknown shell", args: "completion tcsh", want: `"tcsh"`},
		{name: "keep a full folder", args: "demo --keep {dir}", want: "isn't empty"},

		// manifests
		{name: "manifest alone", args: "manifest", want: "needs a command"},
		{name: "verify nothing", args: "manifest verify", want: "needs FILE|REMOTE|JOB"},
		{name: "verify no file", args: "manifest verify nothing.gz", want: "is no file, no remote and no job ID"},
		{name: "verify an unknown remote", args: "manifest verify frist:", want: "no remote called frist:"},
		{name: "verify an unknown job", args: "manifest verify 01KB3Q7W5T0000000000000000", want: "no such job"},
		{name: "show a remote", args: "manifest show first:", want: "is no file, no remote and no job ID"},
		{name: "show an unknown job", args: "manifest show 01KB3Q7W5T0000000000000000", want: "no such job"},
		{name: "import a job", args: "manifest import 01KB3Q7W5T0000000000000000", want: "needs a destination or a file"},
		{name: "where nothing", args: "where", want: "needs NAME"},
		{name: "where empty", args: `where \e`, want: "is empty"},
		{name: "where a star", args: "where *", want: "every file"},
		{name: "where long", args: "where " + strings.Repeat("x", 1001), want: "longer than 1000"},
		{name: "where limit zero", args: "where x --limit 0", want: "limit"},
		{name: "where limit huge", args: "where x --limit 1001", want: "limit"},

		// source and destination
		{name: "same", args: "run {dir}/a {dir}/a", want: "source and destination are both"},
		{name: "same but for spelling", args: "run {dir}/a {dir}/b/../a/", want: "source and destination are both"},
		{name: "same remote", args: "run first:x first:x/", want: "source and destination are both"},
		{name: "destination below source", args: "run {dir}/a {dir}/a/sub", want: "overlap"},
		{name: "source below destination", args: "run {dir}/a {dir}", want: "overlap"},
		{name: "source missing", args: "run {dir}/none {dir}/b", want: "no such file"},
		{name: "unknown remote", args: "run frist: {dir}/b", want: "no remote called frist:"},
		{name: "unknown destination", args: "enqueue {dir}/a dropbox:Backup", want: "no remote called dropbox:"},
		{name: "unknown kind", args: "run :nocloud: {dir}/b", want: "no kind of remote"},
		{name: "secret on the command line", args: "run :webdav,pass=hunter2:x {dir}/b", want: "is a secret"},
		{name: "secret in a remote within a remote", args: "run :crypt,remote=':dropbox,token=hunter2:x':y {dir}/b", want: "token is a secret"},
		{name: "secret in one of several remotes", args: `run :combine,upstreams='a=:local:/x\sb=:webdav,pass=hunter2:y':z {dir}/b`, want: "pass is a secret"},
		{name: "secret in a URL", args: "run :http,url='http://me:hunter2@127.0.0.1:1/':x {dir}/b", want: "url is a secret"},
		{name: "secret in a header", args: "run :http,url='http://127.0.0.1:1/',headers='Authorization,hunter2':x {dir}/b", want: "headers is a secret"},
		{name: "no secret", args: "run :combine,upstreams='a=:local:{dir}/none':z {dir}/b", want: "directory not found"},
		{name: "bad remote name", args: "run :,: {dir}/b", want: "source"},
		{name: "out of the remote", args: "run first:../x {dir}/b", want: "by .."},
		{name: "control characters", args: "run first:x\x1b[2J {dir}/b", want: "control characters"},
		{name: "invalid UTF-8", args: "run first:\xff {dir}/b", want: "control characters"},

		// words
		run("unknown policy", "--delete-source always", `"always"`),
		run("policy in capitals", "--delete-source Verified", `"Verified"`),
		run("empty policy", `--delete-source=`, "unknown value"),
		run("grade D", deleting+"--min-grade D", `"D"`),
		run("lower grade", deleting+"--min-grade a", `"a"`),
		run("conflict", "--conflict replace", `"replace"`),
		run("order", "--order newest", `"newest"`),
		run("priority", "--priority urgent", `"urgent"`),
		run("account", "--account Anna\\sB", "account"),
		run("account with braces", "--account {x}:y", "account"),
		run("empty account", `--account \e`, "account"),
		run("long label", "--label "+strings.Repeat("x", 201), "label"),
		run("label with line", "--label a\x07b", "label"),

		// sizes, durations, counts
		run("decimal unit", "--max-size 5GB", "GiB"),
		run("negative size", "--min-size -5MiB", `"-5MiB"`),
		run("size NaN", "--max-size NaN", `"NaN"`),
		run("size inf", "--max-transfer inf", `"inf"`),
		run("huge size", "--max-size 99999999999999999999PiB", "too large"),
		run("size in Arabic digits", "--max-size ٥GiB", "is not a size"),
		run("exponent", "--max-size 1e9", "is not a size"),
		run("empty size", `--max-size \e`, "is not a size"),
		run("max size zero", "--max-size 0", "would move nothing"),
		run("max transfer zero", "--max-transfer 0", "would move nothing"),
		run("duration without unit", "--min-age 30", "is not a duration"),
		run("negative duration", "--min-age -1h", "is not a duration"),
		run("huge duration", deleting+"--hold 99999999w", "too long"),
		run("months", "--max-age 3mo", "is not a duration"),
		run("hold over ten years", deleting+"--hold 4000d", "hold"),
		run("negative transfers", "--transfers -1", "whole number"),
		run("too many transfers", "--transfers 100000", "whole number"),
		run("transfers fraction", "--transfers 1.5", "whole number"),
		run("transfers in full-width digits", "--transfers ４", "whole number"),
		run("negative max delete", deleting+"--max-delete -1", "whole number"),
		run("max delete percent", deleting+"--max-delete 50%", "whole number"),
		run("window", "--window 25:00-06:00", "window"),
		run("window without end", "--window 22:00", "window"),
		run("empty window", "--window 06:00-06:00", "window"),
		run("bwlimit", "--bwlimit fast", "bwlimit"),
		run("negative bwlimit", "--bwlimit -5M", "bwlimit"),
		run("bwlimit NaN", "--bwlimit NaN", "bwlimit"),
		run("bad timetable", "--bwlimit 26:00,1M", "bwlimit"),
		run("bad pattern", "--include {{a", "{{a"),
		run("unbalanced pattern", "--exclude a[", "a["),
		run("empty pattern", `--exclude \e`, "pattern is empty"),

		// flags that contradict each other
		run("purge without deletion", "--purge-trash", "purge-trash"),
		run("purge without a trash", "--delete-source verified --purge-trash", "purge-trash"),
		run("hold without deletion", "--hold 7d", "hold"),
		run("grade without deletion", "--min-grade C", "min-grade"),
		run("packages without deletion", "--delete-packages --delete-source never", "delete-packages"),
		run("max delete without deletion", "--max-delete 5", "max-delete"),
		run("sizes crossed", "--min-size 2MiB --max-size 1MiB", "min-size"),
		run("ages crossed", "--min-age 2d --max-age 1d", "min-age"),
		run("list and patterns", "--files-from {dir}/rclone.conf --include *.jpg", "files-from"),
		{name: "up with redis", args: "up --redis redis://127.0.0.1:1", want: "embedded"},
		{name: "up with redis in the environment", args: "up", env: "OFFLOAD_REDIS=redis://:hunter2@127.0.0.1:1", want: "embedded"},
		run("policy twice", "--delete-source never --delete-source=verified", "given twice"),
		{name: "JSON of the demo", args: "demo --json", want: "no JSON form"},
		{name: "JSON of a script", args: "completion bash --json", want: "no JSON form"},

		// lists of files
		run("list missing", "--files-from {dir}/none", "no such file"),
		run("list is a folder", "--files-from {dir}/a", "directory"),
		{name: "list empty", args: "run {dir}/a {dir}/b --files-from -", stdin: "# nothing\n\n", want: "names no file"},
		{name: "list leaves the source", args: "run {dir}/a {dir}/b --files-from -", stdin: "ok\n../../etc/passwd\n", want: "line 2"},
		{name: "list isn't UTF-8", args: "run {dir}/a {dir}/b --files-from -", stdin: "\xff\xfe\n", want: "line 1"},

		// jobs
		{name: "no such job", args: "jobs show 01ARZ3NDEKTSV4RRFFQ69G5FAV", want: "no such job"},
		{name: "no such job to cancel", args: "jobs cancel 01ARZ3NDEK", want: "no such job"},
		{name: "short ID", args: "jobs show 01", want: "is no job ID"},
		{name: "long ID", args: "jobs pause 01ARZ3NDEKTSV4RRFFQ69G5FAVX", want: "is no job ID"},
		{name: "path as ID", args: "jobs show ../../etc/passwd", want: "is no job ID"},
		{name: "remote as ID", args: "jobs show icloud:Documents", want: "is no job ID"},
		{name: "ID of a schedule", args: "jobs resume sched_01ARZ3NDEK", want: "is no job ID"},
		{name: "ID with a letter that ULIDs lack", args: "jobs retry 01ARZ3NDEKTSV4RRFFQ69G5FAU", want: "is no job ID"},
		{name: "ID with a star", args: "jobs remove 01ARZ3*", want: "is no job ID"},
		{name: "unknown state", args: "jobs list --state running", want: `"running"`},
		{name: "watching what has ended", args: "jobs list --watch --state waiting --state failed", want: "haven't ended"},
		{name: "watching all", args: "jobs list --watch --all", want: "knows neither"},
		{name: "watching so many", args: "jobs list --watch --limit 5", want: "knows neither"},
		{name: "jobs of nobody", args: "jobs pause", want: "needs ID"},
		{name: "one bad ID of two", args: "jobs pause 01ARZ3NDEKTSV4RRFFQ69G5FAV ../x", want: "is no job ID"},
		{name: "IDs and all", args: "jobs cancel 01ARZ3NDEKTSV4RRFFQ69G5FAV --all", want: "don't go together"},
		{name: "remove what hasn't ended", args: "jobs remove --state queued", want: "can't be removed"},
		{name: "retry what is complete", args: "jobs retry --state completed", want: "can't be begun again"},
		{name: "state of no job", args: "jobs pause --state running", want: `"running"`},
		{name: "jobs of a bad account", args: "jobs pause --account Anna", want: "--account"},

		// workers
		{name: "drain nobody", args: "workers drain", want: "needs the NAME"},
		{name: "drain an empty host", args: `workers drain --host \e`, want: "needs the NAME"},
		{name: "drain two ways", args: "workers drain a --host b", want: "don't go together"},
		{name: "drain an unknown worker", args: "workers drain nas/1", want: `"nas/1": no such worker`},
		{name: "resume an unknown worker", args: "workers resume nas/1", want: `"nas/1": no such worker`},
		{name: "limit nothing", args: "workers set --transfers 3", want: "nothing is named"},
		{name: "limit by nothing", args: "workers set --account anna", want: "nothing to set"},
		{name: "limit two things", args: "workers set --account anna --remote first: --transfers 3", want: "don't go together"},
		{name: "limit an unknown remote", args: "workers set --remote frist: --transfers 3", want: "no remote called frist:"},
		{name: "limit a bad account", args: "workers set --account A --transfers 3", want: "--account"},
		{name: "negative limit of files", args: "workers set --account anna --transfers -1", want: "--transfers"},
		{name: "limit of no files at all", args: "workers set --account anna --transfers 0", want: "from 1 to 10000"},
		{name: "huge limit of files", args: "workers set --account anna --transfers 10001", want: "--transfers"},
		{name: "limit of files in words", args: "workers set --account anna --transfers many", want: "--transfers"},
		{name: "limit of files in Arabic digits", args: "workers set --account anna --transfers ٣", want: "--transfers"},
		config("limit of files of a path", "workers:\n  files:\n    remotes:\n      a/b: 3\n", "workers.files.remotes"),
		config("limit of no files", "workers:\n  files:\n    accounts:\n      anna: 0\n", "workers.files.accounts.anna"),
		config("limit of half a file", "workers:\n  files:\n    accounts:\n      anna: 0.5\n", "not a whole number"),
		{name: "set nothing", args: "jobs set 01ARZ3NDEK", want: "nothing to set"},
		{name: "set of no such job", args: "jobs set 01ARZ3NDEK --bwlimit 4M", want: "no such job"},
		{name: "set of a path", args: "jobs set ../x --bwlimit 4M", want: "is no job ID"},
		{name: "set an empty bandwidth", args: `jobs set 01ARZ3NDEK --bwlimit \e`, want: "bwlimit"},
		{name: "set a negative bandwidth", args: "jobs set 01ARZ3NDEK --bwlimit -4M", want: "bwlimit"},
		{name: "set bandwidth zero", args: "jobs set 01ARZ3NDEK --bwlimit 0", want: "would stop everything"},
		{name: "set a bandwidth in words", args: "jobs set 01ARZ3NDEK --bwlimit fast", want: "bwlimit"},
		{name: "limit zero", args: "jobs list --limit 0", want: "limit"},
		{name: "limit and all", args: "jobs list --limit 5 --all", want: "contradict"},
		{name: "limit huge", args: "jobs list --limit 99999999999999999999", want: "limit"},
		{name: "unknown outcome", args: "jobs files 01ARZ3NDEK --outcome lost", want: `"lost"`},
		{name: "unknown source state", args: "jobs files 01ARZ3NDEK --source gone", want: `"gone"`},

		// quota
		quotaSet("nothing to set", "", "nothing to set"),
		quotaSet("unknown plan", "--plan gold", `"gold"`),
		quotaSet("negative limit", "--limit -1", "limit"),
		quotaSet("decimal limit", "--limit 5GB", "limit"),
		quotaSet("anchor day 0", "--anchor-day 0", "anchor-day"),
		quotaSet("anchor day 32", "--anchor-day 32", "anchor-day"),
		quotaSet("time zone", "--time-zone Mars/Olympus", "Mars/Olympus"),
		quotaSet("time zone path", "--time-zone ../../etc/passwd", "time-zone"),
		quotaSet("account", "--limit 5GiB --account ../x", "account"),
		quotaSet("empty limit", `--limit \e`, "limit"),
		quotaSet("huge limit", "--limit 99999999999999999999PiB", "too large"),
		quotaSet("limit in Arabic digits", "--limit ٥GiB", "limit"),
		quotaSet("unlimited in capitals", "--limit Unlimited", "limit"),
		quotaSet("empty plan", `--plan \e`, "plan"),
		quotaSet("account with Unicode", "--limit 5GiB --account änna", "account"),
		quotaSet("empty account", `--limit 5GiB --account \e`, "account"),
		quotaSet("account and remote", "--account anna --remote first --per-day 1GiB", "don't go together"),
		quotaSet("plan and remote", "--plan plus --remote first --per-day 1GiB", "don't go together"),
		quotaSet("anchor and remote", "--anchor-day 3 --remote first --per-day 1GiB", "don't go together"),
		quotaSet("reset and plan", "--reset --plan plus", "don't go together"),
		quotaSet("reset and limit of a remote", "--remote first --reset --per-day 1GiB", "don't go together"),
		quotaSet("bandwidth and account", "--bwlimit 4M --account anna", "don't go together"),
		quotaSet("bandwidth and remote", "--bwlimit 4M --remote first", "don't go together"),
		quotaSet("no remote", "--per-day 5GiB", "none is named"),
		quotaSet("nothing for the remote", "--remote first", "nothing to set"),
		quotaSet("no such remote", "--remote frist --per-day 5GiB", "no remote called frist:"),
		quotaSet("path for a remote", "--remote first:x --per-day 5GiB", "is no name of a remote"),
		quotaSet("remote out of its folder", "--remote ../first --per-day 5GiB", "is no name of a remote"),
		quotaSet("remote with braces", "--remote {first} --per-day 5GiB", "is no name of a remote"),
		quotaSet("remote with escape", "--remote a\x1b[2J --per-day 5GiB", "is no name of a remote"),
		quotaSet("empty remote", `--remote \e --per-day 5GiB`, "is no name of a remote"),
		quotaSet("decimal per day", "--remote first --per-day 750GB", "per-day"),
		quotaSet("negative per month", "--remote first --per-month -1", "per-month"),
		quotaSet("empty per month", `--remote first --per-month \e`, "per-month"),
		quotaSet("calls in bytes", "--remote first --calls-per-month 25GiB", "calls-per-month"),
		quotaSet("negative calls", "--remote first --calls-per-month -1", "calls-per-month"),
		quotaSet("huge calls", "--remote first --calls-per-month 99999999999999999999", "calls-per-month"),
		quotaSet("half a call", "--remote first --calls-per-month 1.5", "calls-per-month"),
		quotaSet("empty bandwidth", `--bwlimit \e`, "bwlimit"),
		quotaSet("bandwidth in words", "--bwlimit fast", "bwlimit"),
		quotaSet("negative bandwidth", "--bwlimit -5M", "bwlimit"),
		quotaSet("bandwidth zero", "--bwlimit 0", "would stop everything"),
		quotaSet("bad timetable", "--bwlimit 26:00,1M", "bwlimit"),
		{name: "show account", args: "quota show --account {x}", want: "account"},
		{name: "show account and remote", args: "quota show --account anna --remote first", want: "don't go together"},
		{name: "show remote", args: "quota show --remote a/b", want: "remote"},
		{name: "remove nobody", args: "quota remove", want: "--account"},
		{name: "remove unknown account", args: "quota remove --account nobody", want: "there is no account"},
		{name: "remove empty account", args: `quota remove --account \e`, want: "account"},
		{name: "remove account by path", args: "quota remove --account ../anna", want: "account"},
		{name: "remove by argument", args: "quota remove anna", want: `doesn't take "anna"`},
		{name: "history of no days", args: "quota history --days 0", want: "days"},
		{name: "history of all time", args: "quota history --days 401", want: "days"},
		{name: "history of huge days", args: "quota history --days 99999999999999999999", want: "days"},
		{name: "history in words", args: "quota history --days week", want: "days"},
		{name: "history in two forms", args: "quota history --json --csv", want: "don't go together"},
		{name: "history of two", args: "quota history --account anna --remote first", want: "don't go together"},
		{name: "history of braces", args: "quota history --account {anna}", want: "account"},
		{name: "history of no remote", args: `quota history --remote \e`, want: "remote"},
		{name: "forecast of nobody", args: `quota forecast --account \e`, want: "account"},
		{name: "forecast of Unicode", args: "quota forecast --account ännä", want: "account"},

		// remotes
		{name: "check unknown", args: "remotes check nowhere", want: "no remote called nowhere:"},
		{name: "rclone configuration missing", args: "remotes list --rclone-config {dir}/none.conf", want: "no such file"},
		{name: "rclone configuration is a folder", args: "remotes list --rclone-config {dir}/a", want: "rclone configuration"},

		// settings
		{name: "settings missing", args: "jobs list --config {dir}/none.yaml", want: "no such file"},
		{name: "settings from the environment missing", args: "jobs list", env: "OFFLOAD_CONFIG={dir}/none.yaml", want: "no such file"},
		{name: "settings unnamed", args: `jobs list --config \e`, want: "--config"},
		config("unknown key", "redsi: x\n", `line 1: unknown setting "redsi"`),
		config("unknown nested key", "log:\n  levle: debug\n", `line 2: unknown setting "levle"`),
		config("key twice", "data: a\ndata: b\n", "line 2"),
		config("not YAML", "log: {level\n", "x.yaml"),
		config("wrong type", "worker:\n  batches: many\n", "line 2"),
		config("size in the file", "quota:\n  tiers:\n    - {name: a, limit: 5GB}\n", "GiB"),
		config("no such default tier", "quota:\n  default_tier: gold\n", "quota.default_tier"),
		config("plan of an account", "quota:\n  accounts:\n    anna: {plan: gold}\n", "quota.accounts.anna.plan"),
		config("name of an account", "quota:\n  accounts:\n    Änna: {plan: plus}\n", "quota.accounts"),
		config("zone of an account", "quota:\n  accounts:\n    anna: {time_zone: ../../etc/passwd}\n", "quota.accounts.anna.time_zone"),
		config("limit of a remote", "quota:\n  remotes:\n    gdrive:\n      per_day: -1\n", "line 4"),
		config("calls of a remote", "quota:\n  remotes:\n    gdrive:\n      calls_per_month: many\n", "line 4"),
		config("name of a remote", "quota:\n  remotes:\n    \"../x\": {per_day: 1GiB}\n", "quota.remotes"),
		config("remote without limits", "quota:\n  remotes:\n    gdrive: {}\n", "no limit is named"),
		config("bandwidth in the settings", "quota:\n  bwlimit: fast\n", "quota.bwlimit"),
		config("bandwidth zero in the settings", "quota:\n  bwlimit: 0\n", "quota.bwlimit"),
		config("out of range", "worker:\n  batches: 99999\n", "worker.batches"),
		{name: "redis scheme", args: "jobs list --redis http://:hunter2@host", want: "setting redis"},
		{name: "redis garbage", args: "jobs list", env: "OFFLOAD_REDIS=redis://:hunter2@ho st:x", want: "setting redis"},
		{name: "fsync", args: "jobs list", env: "OFFLOAD_FSYNC=never", want: "fsync"},
		{name: "log level", args: "jobs list --log-level loud", want: "log.level"},
		{name: "log format", args: "jobs list --log-format xml", want: "log.format"},
		{name: "batches from the environment", args: "jobs list", env: "OFFLOAD_WORKER_BATCHES=-3", want: "OFFLOAD_WORKER_BATCHES"},
		{name: "worker batches", args: "worker --batches 0", want: "batches"},
		{name: "health of another", args: "health worker-1", want: `doesn't take "worker-1"`},
		{name: "database of a cluster", args: "health --redis redis-cluster://127.0.0.1:1/3", want: "database 0 only"},
		{name: "database in words", args: "worker --redis redis://127.0.0.1:1/abc", want: "invalid database number"},
		{name: "misspelt parameter", args: "jobs list --redis rediss-sentinel://127.0.0.1:1?master=m&passwort=x", want: `parameter "passwort" is unknown`},
		{name: "health on a wrong address", args: "health --redis queue:6379", want: "setting redis"},
		{name: "data is a file", args: "run {dir}/a {dir}/b --data {dir}/rclone.conf/x", want: "data folder"},
	}
}

// TestBadInput runs wrong command lines: each ends with exit status 2, one clear line and one hint, prints nothing on
// stdout, and leaves no job behind.
func TestBadInput(t *testing.T) {
	lines := badLines()
	if len(lines) < 60 {
		t.Errorf("only %d wrong command lines; the contract says at least 60", len(lines))
	}
	seen := map[string]bool{}
	for _, tt := range lines {
		if seen[tt.name] {
			t.Errorf("two cases are called %q", tt.name)
		}
		seen[tt.name] = true
		t.Run(tt.name, func(t *testing.T) { tt.check(t) })
	}
}

func (b badLine) check(t *testing.T) {
	h := newHome(t)
	fill := func(s string) string {
		return strings.NewReplacer("{dir}", h.dir, `\s`, " ", `\e`, "").Replace(s)
	}
	if name, value, ok := strings.Cut(b.env, "="); ok {
		h.env[name] = fill(value)
	}
	if b.file != "" {
		if err := os.WriteFile(filepath.Join(h.dir, "x.yaml"), []byte(b.file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var args []string
	for _, word := range strings.Fields(b.args) {
		args = append(args, fill(word))
	}
	before := listFiles(t, h.dir)
	got := h.offload(t, b.stdin, args...)
	if got.code != exitUsage {
		t.Errorf("exit status %d; want %d", got.code, exitUsage)
	}
	if got.out != "" {
		t.Errorf("stdout is %q; want nothing", got.out)
	}
	message, hint, _ := strings.Cut(strings.TrimSuffix(got.err, "\n"), "\n")
	if !strings.HasPrefix(message, "offload: ") || !strings.HasPrefix(hint, "hint: ") || len(hint) < 10 || strings.Contains(hint, "\n") {
		t.Errorf("stderr is %q; want one line and one hint", got.err)
	}
	if !strings.Contains(message, b.want) {
		t.Errorf("message %q doesn't say %q", message, b.want)
	}
	if strings.ContainsAny(message+hint, "\x1b\x07") || strings.Contains(got.err, "hunter2") {
		t.Errorf("stderr %q repeats what it mustn't", got.err)
	}
	if after := listFiles(t, h.dir); after != before {
		h.checkNoJobs(t)
	}
}

// listFiles names everything below dir.
func listFiles(t *testing.T, dir string) string {
	t.Helper()
	var names strings.Builder
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names.WriteString(path + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names.String()
}

// checkNoJobs is for mistakes that only the service finds: the store exists then, but holds nothing.
func (h *home) checkNoJobs(t *testing.T) {
	t.Helper()
	for _, name := range []string{"OFFLOAD_CONFIG", "OFFLOAD_REDIS", "OFFLOAD_FSYNC", "OFFLOAD_WORKER_BATCHES"} {
		delete(h.env, name)
	}
	if got := h.offload(t, "", "jobs", "list", "--json"); got.out != "[]\n" {
		t.Errorf("jobs list after a refused command: %q, %q; want no jobs", got.out, got.err)
	}
}
