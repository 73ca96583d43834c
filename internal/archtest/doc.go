// Package archtest holds the rules of the tree that the compiler doesn't: which package may import which, what may
// stand in production code, and how large a file may grow. It has tests only.
package archtest
