// Package icloud is the place of what iCloud Drive can do and rclone's backend for it can't: deleting under an etag,
// several items at once, and the trash. None of that is built yet: iCloud is a remote like any other, whose files are
// deleted one by one after another look at them.
package icloud
