package remotes

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/unknwon/goconfig"
)

// maxConfFile bounds an rclone.conf, in bytes: what is larger was named by mistake.
const maxConfFile = 16 << 20

// ErrSealedFile says that an rclone.conf is encrypted and its password is missing or wrong.
var ErrSealedFile = errors.New("it is encrypted, and its password is missing or wrong")

// ReadConf reads the remotes of an rclone.conf by name. An encrypted one is opened with the password.
func ReadConf(path, password string) (map[string]map[string]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() || info.Size() > maxConfFile {
		return nil, errors.New("it is no rclone.conf")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if _, sealed := sealedBody(text); sealed {
		k, err := keyOf(password)
		if err == nil {
			text, err = k.open(string(text))
		}
		if err != nil {
			return nil, ErrSealedFile
		}
	}
	return parseConf(text)
}

func parseConf(text []byte) (map[string]map[string]string, error) {
	gc, err := goconfig.LoadFromReader(bytes.NewReader(text))
	if err != nil {
		return nil, errors.New("it is no rclone.conf") // the parser's message would repeat a line, which may be a secret
	}
	all := map[string]map[string]string{}
	for _, name := range gc.GetSectionList() {
		values := map[string]string{}
		for _, k := range gc.GetKeyList(name) {
			v, err := gc.GetValue(name, k)
			if err != nil {
				return nil, fmt.Errorf("read %s of remote %s: the value can't be read", k, name)
			}
			values[k] = v
		}
		if values["type"] != "" {
			all[name] = values
		}
	}
	if len(all) == 0 {
		return nil, errors.New("there are no remotes in it")
	}
	return all, nil
}

// Choose returns the sorted names to import: those asked for, or all. The error names one that isn't there.
func Choose(all map[string]map[string]string, asked []string) ([]string, error) {
	names := []string{}
	for _, name := range asked {
		if all[name] == nil {
			return nil, fmt.Errorf("there is no remote called %s in it", name)
		}
		names = append(names, name)
	}
	if len(asked) == 0 {
		for name := range all {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
