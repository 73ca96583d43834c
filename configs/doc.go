// Package configs holds the settings of the program: the Config struct, its defaults, strict loading from a YAML file
// and the environment, validation, and the parsers of sizes, durations, counts and time windows that the command line
// uses too. It imports nothing else of ours and no cloud library.
//
// Order of precedence, weakest first: the default, the file, the environment, the command line. An unknown key, an
// unknown value or a second value for the same key is an error that names the file and the line: a setting is never
// silently ignored.
package configs
