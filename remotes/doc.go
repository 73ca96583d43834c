// Package remotes is the place of the configured clouds: rclone's configuration kept sealed in the store, guided
// sign-in, and free space. None of that is built yet: today cmd/offload reads an existing rclone.conf as it is.
package remotes
