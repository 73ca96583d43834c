// Package cloudtest is the place of iCloud and Dropbox played at the HTTP level, for tests and for the demo. None of
// that is built yet: the demo moves files between two folders of the local disk.
package cloudtest
