// Package dropbox is Dropbox as a destination: rclone's backend for all but uploads, which it does itself.
//
// An upload is the sequence that rclone uses: upload_session/start, append_v2 with the last chunk closing the session,
// finish_batch_v2. What differs is around it:
//
//   - One commit at a time per account, over all workers: the account is a lane of transfer.Fleet. While one commit
//     runs, the files that are ready for the next one gather.
//   - A refusal for calling too often (429) is told to all workers, as a rest of the account, and the call is repeated
//     with the chunk that is still in memory. A file that couldn't be committed because others were writing is committed
//     again. Neither reads the source another time.
//   - A new file is committed in mode "add": one that appeared under its name in the meantime is never overwritten.
//   - After a commit whose answer was lost, each of its files is looked at before it is committed again.
//   - The number of calls at once adapts to what the service takes.
//
// A file is only there once it is committed: a process that dies before leaves nothing but an upload session, which
// Dropbox drops by itself. Nothing here proves anything: the engine does, by a look of its own.
//
// Remotes that act for somebody else or in another namespace (impersonate, impersonate_admin, shared_files,
// shared_folders, root_namespace, and roots that begin with a slash) are left to rclone wholly: each of these changes
// headers or paths of every call in ways that only rclone's backend knows.
package dropbox
