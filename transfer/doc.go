// Package transfer is the engine: it scans a source against a destination, copies entries, proves that they arrived
// and deletes them at the source under the safety rules of docs/safety.md. It works on any rclone remote and on local
// paths, and knows no Redis, no queue and no quota; whoever runs it passes those in through the ports of ports.go.
//
// Guarantee: a source file is deleted only when the destination is proved to hold the very bytes that the source holds
// now. Whatever is uncertain stays at the source and is reported as an outcome with a reason.
//
// Everything may be called again after a crash at any point: a batch passes over what its journal says is done, looks
// at the destination before it copies, and proves again before it deletes.
package transfer
