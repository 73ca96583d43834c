// Package xtest holds doubles that the engine's tests and benchmarks share.
package xtest
