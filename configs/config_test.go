package configs

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestExampleIsTheDefaults(t *testing.T) {
	fromFile, err := Parse("offload.yaml", Example())
	if err != nil {
		t.Fatal(err)
	}
	got, want := fromFile.WithDefaults("/state"), Config{}.WithDefaults("/state")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("offload.yaml gives\n%+v\nthe defaults are\n%+v", got, want)
	}
	if err := want.Validate(); err != nil {
		t.Errorf("the defaults aren't valid: %v", err)
	}
}

func TestExampleNamesEverySetting(t *testing.T) {
	text := string(Example())
	for _, s := range settings() {
		if !strings.Contains(text, s.env) {
			t.Errorf("offload.yaml doesn't mention %s", s.env)
		}
	}
	for _, field := range fieldNames(reflect.TypeFor[Config](), "") {
		key := field[strings.LastIndex(field, ".")+1:]
		if !strings.Contains(text, key+":") {
			t.Errorf("offload.yaml doesn't mention %s", field)
		}
	}
}

func fieldNames(t reflect.Type, prefix string) []string {
	var names []string
	for f := range t.Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		name := prefix + key
		switch {
		case f.Type.Kind() == reflect.Struct:
			names = append(names, fieldNames(f.Type, name+".")...)
		case (f.Type.Kind() == reflect.Slice || f.Type.Kind() == reflect.Map) && f.Type.Elem().Kind() == reflect.Struct:
			names = append(names, fieldNames(f.Type.Elem(), name+".")...)
		default:
			names = append(names, name)
		}
	}
	return names
}

// TestEveryFieldIsRead looks for each field by name in the code of the command: a setting that nothing reads is a lie.
func TestEveryFieldIsRead(t *testing.T) {
	files, err := filepath.Glob("../cmd/offload/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("the command's code isn't there: %v", err)
	}
	var code strings.Builder
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "_test.go") {
			code.Write(text)
		}
	}
	for _, read := range []string{"cfg.Redis", "cfg.Data", "cfg.Fsync", "cfg.RcloneConfig", "cfg.Account", "cfg.Log.Level", "cfg.Log.Format",
		"cfg.Quota.Tiers", "cfg.Quota.DefaultTier", "cfg.Quota.AnchorDay", "cfg.Quota.TimeZone", "cfg.Remotes.PassFile", "cfg.Worker.Batches", "cfg.Worker.Transfers", "t.Name", "t.Limit",
		"cfg.Quota.Accounts", "acc.Plan", "acc.Limit", "acc.AnchorDay", "acc.TimeZone",
		"cfg.Quota.Remotes", "r.PerDay", "r.PerMonth", "r.CallsPerMonth", "cfg.Quota.BwLimit", "cfg.Workers.Files.Remotes", "cfg.Workers.Files.Accounts",
		"cfg.Dashboard.Listen", "cfg.Dashboard.TLSCert", "cfg.Dashboard.TLSKey", "d.Users", "d.Tokens", "d.Hosts", "d.TrustedProxies", "d.Session",
		"u.Name", "u.Role", "u.PasswordHash", "t.Role", "t.File", "t.SHA256",
		"cfg.Messages.Targets", "t.Address", "t.Events", "t.Accounts", "cfg.Messages.Every", "cfg.Messages.Idle", "cfg.Messages.Link", "cfg.Messages.Details",
		"cfg.ICloudPlans"} {
		if !strings.Contains(code.String(), read) {
			t.Errorf("%s is never read", read)
		}
	}
	if n := len(fieldNames(reflect.TypeFor[Config](), "")); n != 48 {
		t.Errorf("Config has %d fields; add the new one to this test, where it is read", n)
	}
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]struct {
		text string
		line int
		want string
	}{
		"unknown key":        {"redis: \"\"\nredsi: x\n", 2, `unknown setting "redsi"`},
		"unknown nested key": {"log:\n  levle: info\n", 2, `unknown setting "levle"`},
		"key twice":          {"account: a\naccount: b\n", 2, "account"},
		"wrong type":         {"worker:\n  batches: many\n", 2, ""},
		"list for a text":    {"account: [a]\n", 1, ""},
		"not YAML":           {"log: {level: info\n", 0, ""},
		"tab indent":         {"log:\n\tlevel: info\n", 0, ""},
		"bad size":           {"quota:\n  tiers:\n    - name: x\n      limit: 5GB # x\n", 4, "write GiB"},
		"negative size":      {"quota:\n  tiers:\n    - name: x\n      limit: -5\n", 4, "is not a size"},
		"limit of 0":         {"quota:\n  accounts:\n    anna:\n      limit: 0\n", 4, "would allow nothing"},
		"huge limit":         {"quota:\n  remotes:\n    gdrive:\n      per_day: 5PiB\n", 4, "too large"},
		"negative day":       {"quota:\n  remotes:\n    gdrive:\n      per_day: -1GiB\n", 4, "is not a size"},
		"no calls":           {"quota:\n  remotes:\n    gdrive:\n      calls_per_month: 0\n", 4, "would allow nothing"},
		"negative calls":     {"quota:\n  remotes:\n    gdrive:\n      calls_per_month: -3\n", 4, "is not a number of calls"},
		"calls as a size":    {"quota:\n  remotes:\n    gdrive:\n      calls_per_month: 25GiB\n", 4, "is not a number of calls"},
		"calls in digits":    {"quota:\n  remotes:\n    gdrive:\n      calls_per_month: ٥\n", 4, "is not a number of calls"},
		"list of calls":      {"quota:\n  remotes:\n    gdrive:\n      calls_per_month: [3]\n", 4, "is not a number"},
		"unknown limit":      {"quota:\n  remotes:\n    gdrive:\n      per_week: 1GiB\n", 4, `unknown setting "per_week"`},
		"account twice":      {"quota:\n  accounts:\n    anna: {plan: plus}\n    anna: {plan: free}\n", 4, "anna"},
		"account as text":    {"quota:\n  accounts:\n    anna: plus\n", 3, ""},
		"list of remotes":    {"quota:\n  remotes: [gdrive]\n", 2, ""},
		"two documents":      {"account: a\n---\naccount: b\n", 0, "more than one document"},
		"a list":             {"- a\n- b\n", 0, ""},
		"fraction":           {"worker:\n  transfers: 1.5\n", 2, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("x.yaml", []byte(tt.text))
			var file *FileError
			if !errors.As(err, &file) {
				t.Fatalf("got %v; want a *FileError", err)
			}
			if tt.line > 0 && file.Line != tt.line {
				t.Errorf("line %d; want %d (%v)", file.Line, tt.line, err)
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "x.yaml") || file.Hint == "" {
				t.Errorf("got %q with hint %q; want it to name x.yaml and %q", err, file.Hint, tt.want)
			}
		})
	}
}

func TestParseKeepsSecretsOutOfErrors(t *testing.T) {
	for _, text := range []string{"redis: {url: redis://:hunter2@h}\n", "redis: redis://:hunter2@h\nlog: [\n", "redis: [redis://:hunter2@h]\n"} {
		if _, err := Parse("x.yaml", []byte(text)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Parse(%q): %v; want an error without the password", text, err)
		}
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing.yaml")
	if c, err := ReadFile(missing, false); err != nil || !reflect.DeepEqual(c, Config{}) {
		t.Errorf("a missing file that nobody named gives %+v, %v", c, err)
	}
	if _, err := ReadFile(missing, true); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("a missing file that was named gives %v", err)
	}
	if _, err := ReadFile(dir, true); err == nil {
		t.Error("a folder is read as a file")
	}
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(large, true); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a large file gives %v", err)
	}
}

func TestWithEnv(t *testing.T) {
	for _, s := range settings() {
		value := map[string]string{"OFFLOAD_QUOTA_ANCHOR_DAY": "15", "OFFLOAD_WORKER_BATCHES": "3", "OFFLOAD_WORKER_TRANSFERS": "4"}[s.env]
		if value == "" {
			value = "something"
		}
		lookup := func(v string) func(string) (string, bool) {
			return func(name string) (string, bool) { return v, name == s.env }
		}
		if c, err := (Config{}).WithEnv(lookup(value)); err != nil || reflect.DeepEqual(c, Config{}) {
			t.Errorf("%s=%s gives %+v, %v", s.env, value, c, err)
		}
		if c, err := (Config{}).WithEnv(lookup("")); err != nil || !reflect.DeepEqual(c, Config{}) {
			t.Errorf("an empty %s gives %+v, %v", s.env, c, err)
		}
	}
	_, err := Config{}.WithEnv(func(name string) (string, bool) { return "-1", true })
	for _, name := range []string{"OFFLOAD_QUOTA_ANCHOR_DAY", "OFFLOAD_WORKER_BATCHES", "OFFLOAD_WORKER_TRANSFERS"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v doesn't name %s", err, name)
		}
	}
}

func TestValidate(t *testing.T) {
	tests := map[string]struct {
		change func(*Config)
		field  string
	}{
		"redis scheme":     {func(c *Config) { c.Redis = "http://host" }, "redis"},
		"redis host":       {func(c *Config) { c.Redis = "redis://:6379" }, "redis"},
		"redis garbage":    {func(c *Config) { c.Redis = "redis://a b\x01" }, "redis"},
		"redis no socket":  {func(c *Config) { c.Redis = "unix://" }, "redis"},
		"sentinel master":  {func(c *Config) { c.Redis = "redis-sentinel://a,b" }, "redis"},
		"TLS sentinels":    {func(c *Config) { c.Redis = "rediss-sentinel://a,b" }, "redis"},
		"cluster of none":  {func(c *Config) { c.Redis = "rediss-cluster://,b" }, "redis"},
		"data":             {func(c *Config) { c.Data = "a\x00b" }, "data"},
		"pass file":        {func(c *Config) { c.Remotes.PassFile = "a\x00b" }, "remotes.pass_file"},
		"fsync":            {func(c *Config) { c.Fsync = "never" }, "fsync"},
		"account":          {func(c *Config) { c.Account = "A B" }, "account"},
		"level":            {func(c *Config) { c.Log.Level = "loud" }, "log.level"},
		"format":           {func(c *Config) { c.Log.Format = "xml" }, "log.format"},
		"batches":          {func(c *Config) { c.Worker.Batches = -1 }, "worker.batches"},
		"transfers":        {func(c *Config) { c.Worker.Transfers = 257 }, "worker.transfers"},
		"anchor":           {func(c *Config) { c.Quota.AnchorDay = 32 }, "quota.anchor_day"},
		"zone":             {func(c *Config) { c.Quota.TimeZone = "Mars/Olympus" }, "quota.time_zone"},
		"local zone":       {func(c *Config) { c.Quota.TimeZone = "Local" }, "quota.time_zone"},
		"tier name":        {func(c *Config) { c.Quota.Tiers[0].Name = "" }, "quota.tiers[0].name"},
		"tier twice":       {func(c *Config) { c.Quota.Tiers[1].Name = "free" }, "quota.tiers[1].name"},
		"tier without any": {func(c *Config) { c.Quota.Tiers[2].Limit = 0 }, "quota.tiers[2].limit"},
		"account name":     {func(c *Config) { c.Quota.Accounts["Anna B"] = Account{Plan: "plus"} }, "quota.accounts"},
		"account braces":   {func(c *Config) { c.Quota.Accounts["{x}"] = Account{Plan: "plus"} }, "quota.accounts"},
		"account plan":     {func(c *Config) { c.Quota.Accounts["anna"] = Account{Plan: "gold"} }, "quota.accounts.anna.plan"},
		"account anchor":   {func(c *Config) { c.Quota.Accounts["anna"] = Account{AnchorDay: -1} }, "quota.accounts.anna.anchor_day"},
		"account zone":     {func(c *Config) { c.Quota.Accounts["anna"] = Account{TimeZone: "Local"} }, "quota.accounts.anna.time_zone"},
		"remote name":      {func(c *Config) { c.Quota.Remotes["gdrive:"] = RemoteLimits{PerDay: 1} }, "quota.remotes"},
		"remote path":      {func(c *Config) { c.Quota.Remotes["a/b"] = RemoteLimits{PerDay: 1} }, "quota.remotes"},
		"remote unnamed":   {func(c *Config) { c.Quota.Remotes[""] = RemoteLimits{PerDay: 1} }, "quota.remotes"},
		"remote escape":    {func(c *Config) { c.Quota.Remotes["a\x1b"] = RemoteLimits{PerDay: 1} }, "quota.remotes"},
		"remote no limit":  {func(c *Config) { c.Quota.Remotes["gdrive"] = RemoteLimits{} }, "quota.remotes.gdrive"},
		"files of a path":  {func(c *Config) { c.Workers.Files.Remotes["a/b"] = 1 }, "workers.files.remotes"},
		"files of nobody":  {func(c *Config) { c.Workers.Files.Accounts["Anna"] = 1 }, "workers.files.accounts"},
		"no files":         {func(c *Config) { c.Workers.Files.Remotes["a"] = 0 }, "workers.files.remotes.a"},
		"files below none": {func(c *Config) { c.Workers.Files.Accounts["anna"] = -1 }, "workers.files.accounts.anna"},
		"many files":       {func(c *Config) { c.Workers.Files.Remotes["a"] = 10_001 }, "workers.files.remotes.a"},
		"default tier":     {func(c *Config) { c.Quota.DefaultTier = "gold" }, "quota.default_tier"},
		"listen":           {func(c *Config) { c.Dashboard.Listen = "7317" }, "dashboard.listen"},
		"listen to all":    {func(c *Config) { c.Dashboard.Listen = ":7317" }, "dashboard.listen"},
		"hosts for nobody": {func(c *Config) { c.Dashboard.Hosts = []string{"a.example"} }, "dashboard"},
		"user":             {func(c *Config) { c.Dashboard.Users = []User{{Name: "a", Role: "viewer"}} }, "dashboard.users[0].password_hash"},
		"token":            {func(c *Config) { c.Dashboard.Tokens = []Token{{Name: "a", Role: "viewer"}} }, "dashboard.tokens[0]"},
		"key missing":      {func(c *Config) { c.Dashboard.TLSCert = "x" }, "dashboard.tls_cert"},
		"session":          {func(c *Config) { c.Dashboard.Session = -1 }, "dashboard.session"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := Config{}.WithDefaults("/state")
			tt.change(&c)
			var field *FieldError
			if err := c.Validate(); !errors.As(err, &field) || field.Field != tt.field || field.Hint == "" {
				t.Errorf("got %v; want a *FieldError for %s with a hint", err, tt.field)
			}
		})
	}
	for _, url := range []string{"", "redis://h", "rediss://u:p@h:1/2", "unix:///run/redis.sock?db=1", "redis-sentinel://a:1,b:2/0?master=m", "redis-cluster://a,b",
		"rediss-sentinel://:p@a,b?master=m&sentinel_password=x,y", "rediss-cluster://u:p,q@a:1,b:2", "redis-cluster://[::1]:7000,[::1]:7001/0"} {
		c := Config{Redis: url}.WithDefaults("/state")
		if err := c.Validate(); err != nil {
			t.Errorf("%q is refused: %v", url, err)
		}
	}
}

func TestValidateReportsAllMistakes(t *testing.T) {
	c := Config{Fsync: "no", Account: "?", Log: Log{Level: "x", Format: "y"}}.WithDefaults("/state")
	err := c.Validate()
	for _, want := range []string{"fsync", "account", "log.level", "log.format"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v doesn't name %s", err, want)
		}
	}
}

func TestSecretsAreMasked(t *testing.T) {
	for _, url := range []string{"redis://:hunter2@host/0", "redis://anna:hunter2@host:6379", "rediss://host?password=hunter2",
		"redis://anna:hun/ter2hunter2@host", "hunter2", "http://x:hunter2@y", "redis://:hunter2%zz@host", "redis://:hunter2@host:port"} {
		c := Config{Redis: url}.WithDefaults("/state")
		if strings.Contains(c.String(), "hunter2") || strings.Contains(c.LogValue().String(), "hunter2") {
			t.Errorf("%q is printed with its password:\n%s", url, c)
		}
		if err := c.Validate(); err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error for %q holds the password: %v", url, err)
		}
	}
	if got := MaskURL("redis://:secret@host:6379/1"); !strings.Contains(got, "host:6379/1") {
		t.Errorf("MaskURL hides too much: %q", got)
	}
}

func TestPeopleOfTheDashboardAreMasked(t *testing.T) {
	c := Config{Dashboard: Dashboard{Users: []User{{Name: "anna", Role: "viewer", PasswordHash: "hunter2"}},
		Tokens: []Token{{Name: "ben", Role: "viewer", SHA256: "hunter2"}}}}.WithDefaults("/state")
	err := c.Validate()
	if err == nil || strings.Contains(c.String()+err.Error(), "hunter2") || !strings.Contains(c.String(), "anna") {
		t.Errorf("printed as\n%s\n%v", c, err)
	}
	if c.Dashboard.Users[0].PasswordHash != "hunter2" {
		t.Error("masking changed the settings themselves")
	}
}

func TestPrintedConfigIsReadBack(t *testing.T) {
	want := Config{}.WithDefaults("/state")
	got, err := Parse("printed", []byte(want.String()))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read back as %+v, %v; want %+v", got, err, want)
	}
}

// TestQuotaOfAccountsAndRemotes reads every setting of an account and a remote, and writes them back as they were.
func TestQuotaOfAccountsAndRemotes(t *testing.T) {
	got, err := Parse("x.yaml", []byte(`quota:
  accounts:
    anna: {plan: plus, limit: 40GiB, anchor_day: 15, time_zone: Europe/Berlin}
    ben: {limit: unlimited}
  remotes:
    gdrive:
      per_day: 750GiB # Google's
      per_month: unlimited
      calls_per_month: 25000
    "Fotos von Jürgen": {calls_per_month: unlimited}
  bwlimit: "08:00,512k 19:00,off"
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Quota{
		Accounts: map[string]Account{"anna": {Plan: "plus", Limit: 40 << 30, AnchorDay: 15, TimeZone: "Europe/Berlin"}, "ben": {Limit: Unlimited}},
		Remotes: map[string]RemoteLimits{"gdrive": {PerDay: 750 << 30, PerMonth: Unlimited, CallsPerMonth: 25000},
			"Fotos von Jürgen": {CallsPerMonth: Count(Unlimited)}},
		BwLimit: "08:00,512k 19:00,off",
	}
	if !reflect.DeepEqual(got.Quota, want) {
		t.Errorf("read as\n%+v\nwant\n%+v", got.Quota, want)
	}
	got = got.WithDefaults("/state")
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	back, err := Parse("printed", []byte(got.String()))
	if err != nil || !reflect.DeepEqual(back, got) {
		t.Errorf("printed as\n%s\nand read back as %+v, %v", got, back, err)
	}
}

func TestDefaultPlaces(t *testing.T) {
	none := func(string) string { return "" }
	xdg := func(name string) string {
		return map[string]string{"XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/c"}[name]
	}
	if got := DefaultFile("/home/anna", none); got != filepath.Join("/home/anna", ".config", "offload", "offload.yaml") {
		t.Errorf("DefaultFile = %s", got)
	}
	if got := DefaultFile("/home/anna", xdg); got != filepath.Join("/c", "offload", "offload.yaml") {
		t.Errorf("DefaultFile with XDG_CONFIG_HOME = %s", got)
	}
	if got := DefaultDataDir("/home/anna", none); !strings.Contains(got, "offload") || !strings.HasPrefix(got, "/home/anna") {
		t.Errorf("DefaultDataDir = %s", got)
	}
}

// What the containers mount departs from the defaults only in what containers need.
func TestContainersRunOnTheDefaults(t *testing.T) {
	got, err := ReadFile("containers.yaml", true)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.WithDefaults("/state").Validate(); err != nil {
		t.Fatal(err)
	}
	want := Config{Redis: "redis://redis:6379/0", Data: "/data", Remotes: Remotes{PassFile: "/run/secrets/config_pass"}, Log: Log{Format: "json"},
		Dashboard: Dashboard{Listen: ":7317", Tokens: []Token{{Name: "operator", Role: "operator", File: "/run/secrets/dashboard_token"}}}}
	if got, want := got.WithDefaults("/state"), want.WithDefaults("/state"); !reflect.DeepEqual(got, want) {
		t.Errorf("containers.yaml gives\n%+v\nwant\n%+v", got, want)
	}
}
