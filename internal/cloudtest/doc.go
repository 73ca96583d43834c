// Package cloudtest plays iCloud and Dropbox at the HTTP level, for tests and for `offload demo`. A proxy on loopback
// takes CONNECT for their hosts and ends TLS with a CA of its own, so that rclone's unchanged backends run against it.
// It reaches no other host, and everything of it is gone after World.Close.
//
// # What iCloud plays, and from what
//
// Sources, best first: the requests of rclone v1.76.0's backend iclouddrive and its package api; answers that other
// clients recorded (pyicloud's fixtures); reports in issue trackers. Nothing of it was tried against Apple's servers.
//
//   - idmsa.apple.com: authorize/signin, federate, signin/init and signin/complete with real SRP-6a (s2k and s2k_fo),
//     trust tokens of 30 days, 2FA by trusted device and by SMS (a code is good once; an accepted one answers 409 with a
//     session token, or 204 as before mid-2026), 2sv/trust, repair/complete, a lock after too many sign-ins.
//   - setup.icloud.com: accountLogin, validate, requestPCS, storageUsageInfo (GET and POST, also at the account's host).
//   - drivews: retrieveItemDetailsInFolders for several folders and for the trash by both of its names,
//     retrieveItemDetails, moveItemsToTrash, deleteItems (live items too), putBackItemsFromTrash, createFolders,
//     renameItems, moveItems. Changes are conditional on the etag for each item. A zone with a write in flight
//     answers 409 ZONE_BUSY to another one. Names are NFD, with the extension apart. What is in the trash counts as
//     used until it is purged. An unknown or dead ID is ID_INVALID within a 200.
//   - docws: download/by_id (data_token, package_token, 400 for empty files), lookup_by_path, lookup_by_id, v1/item,
//     v1/enumerate, upload/web, update/documents (412 for a folder of another zone).
//   - the content host: signed URLs that run out, ranges, packages as a zip that differs each time and knows no ranges,
//     330 to another host, uploads.
//   - 421 for missing and stale cookies, 423 without the PCS cookie, 503 or 429 above a concurrency, 400 below a share.
//
// # Guesses
//
// No source tells these; code under test mustn't depend on them: 403 for a wrong Origin; 404 of by_id for a document in
// the trash; retrieveItemDetails showing items of the trash; ID_INVALID for items that aren't there in writes; a number
// after a name that is taken; putting back into the root where the folder is gone; 410 for a URL that ran out; 507 for an
// upload above the quota; that a folder's etag stays as it is when something in it changes; that data_token.signature
// is Apple's file checksum (with the salts of MMCS); that a purge in a folder needs only the folder's etag; how long the
// storage goes on being told as it was (Account.SetStorageLag).
//
// # Not played
//
// iCloud Photos and CloudKit (the host answers 404), item/copy, sharing beyond what a listing shows of it, China's hosts,
// hardware keys, the terms-of-use step, expiry of items in the trash by itself after 30 days (Account.ExpireTrash does it),
// HTTP/2 (every connection is HTTP/1.1), content encryption, paging of long listings (drivews has none that a client is
// known to use).
//
// # rclone's own suite
//
// TestRcloneSuiteICloud runs fstests.Run for iclouddrive, which rclone's own integration tests leave out. It can't pass
// whole against any server: the backend remembers modification times in nanoseconds after an upload but sends seconds,
// so that each comparison of the fingerprint in memory with the one read back fails (FsEncoding's files, FsPutZeroLength,
// FsPutFiles with FsPurge, FsPurgeRoot, FsListRootedSubdir, ObjectUpdate and FromRoot/Put, FsUpdateUnknownSize). Our test
// holds that no other assertion fails. Two things are unlike the real service there: names come as they were put
// (Account.NamesAsPut), as the suite compares them byte by byte and the backend doesn't normalise what it lists, and
// low-level retries are 3, as the suite provokes them and waits for each. Skipped by the suite itself are the tests of
// powers that the backend hasn't: ListR, Copy, Command, OpenWriterAt, OpenChunkWriter, ChangeNotify, PublicLink, SetTier,
// metadata, wrapping. What Dropbox plays stands in dropbox.go.
package cloudtest
