package main

// Every cloud that rclone reaches. This is the only place that imports them.
import _ "github.com/rclone/rclone/backend/all"
