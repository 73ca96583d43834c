// Package icloud is iCloud Drive as a source that one can delete from: rclone's sign-in under a file system of our own,
// with sessions that recover, grouped listings, deletion by version in one lane, packages, the trash and the storage.
// docs/clouds.md compares it with rclone's backend.
package icloud
