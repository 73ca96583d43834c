package api

import (
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"offload/jobs"
	"offload/jobs/orderform"
	"offload/quota"
	"offload/transfer"
)

// The types of the service that know a few words have those in the document. Reasons and states may become more: who
// reads them should expect that.
type (
	stateWord   string
	reasonWord  string
	verbWord    string
	outcomeWord string
	sourceWord  string
	gradeWord   string
	policyWord  string
	measureWord string
	workerWord  string
)

// words tells a registry which words the types know.
func words(r huma.Registry) {
	r.RegisterTypeAlias(reflect.TypeFor[jobs.State](), reflect.TypeFor[stateWord]())
	r.RegisterTypeAlias(reflect.TypeFor[jobs.Reason](), reflect.TypeFor[reasonWord]())
	r.RegisterTypeAlias(reflect.TypeFor[jobs.Verb](), reflect.TypeFor[verbWord]())
	r.RegisterTypeAlias(reflect.TypeFor[transfer.Result](), reflect.TypeFor[outcomeWord]())
	r.RegisterTypeAlias(reflect.TypeFor[transfer.SourceState](), reflect.TypeFor[sourceWord]())
	r.RegisterTypeAlias(reflect.TypeFor[transfer.Grade](), reflect.TypeFor[gradeWord]())
	r.RegisterTypeAlias(reflect.TypeFor[transfer.DeletePolicy](), reflect.TypeFor[policyWord]())
	r.RegisterTypeAlias(reflect.TypeFor[quota.Measure](), reflect.TypeFor[measureWord]())
	r.RegisterTypeAlias(reflect.TypeFor[jobs.WorkerState](), reflect.TypeFor[workerWord]())
}

// oneOf is a text that knows a few words.
func oneOf[T ~string](values ...T) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	for _, v := range values {
		s.Enum = append(s.Enum, string(v))
	}
	return s
}

// Schema implements huma.SchemaProvider.
func (stateWord) Schema(huma.Registry) *huma.Schema {
	return oneOf(jobs.Queued, jobs.Scanning, jobs.Transferring, jobs.Finishing, jobs.Paused, jobs.Waiting, jobs.Completed, jobs.CompletedW,
		jobs.FailedState, jobs.Canceled)
}

// Schema implements huma.SchemaProvider.
func (reasonWord) Schema(huma.Registry) *huma.Schema {
	return oneOf(jobs.ReasonQuota, jobs.ReasonWindow, jobs.ReasonSignIn, jobs.ReasonSpace, jobs.ReasonHold)
}

// Schema implements huma.SchemaProvider.
func (verbWord) Schema(huma.Registry) *huma.Schema { return oneOf(jobs.Verbs()...) }

// Schema implements huma.SchemaProvider. The empty word is that of a file that nothing has become of yet.
func (outcomeWord) Schema(huma.Registry) *huma.Schema {
	return oneOf(transfer.Pending, transfer.Copied, transfer.Skipped, transfer.SetAside, transfer.Excluded, transfer.Failed)
}

// Schema implements huma.SchemaProvider.
func (sourceWord) Schema(huma.Registry) *huma.Schema {
	return oneOf(transfer.Kept, transfer.Deleting, transfer.Deleted, transfer.Purging, transfer.Purged)
}

// Schema implements huma.SchemaProvider.
func (gradeWord) Schema(huma.Registry) *huma.Schema {
	return oneOf(transfer.GradeA, transfer.GradeB, transfer.GradeC, transfer.GradeD)
}

// Schema implements huma.SchemaProvider.
func (policyWord) Schema(huma.Registry) *huma.Schema {
	return oneOf(orderform.Words(orderform.DeleteSource)...)
}

// Schema implements huma.SchemaProvider.
func (measureWord) Schema(huma.Registry) *huma.Schema { return oneOf(quota.Measures()...) }

// Schema implements huma.SchemaProvider.
func (workerWord) Schema(huma.Registry) *huma.Schema {
	return oneOf(jobs.WorkerWorking, jobs.WorkerIdle, jobs.WorkerDraining, jobs.WorkerDrained, jobs.WorkerSilent)
}
