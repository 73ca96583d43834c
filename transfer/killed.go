package transfer

import "fmt"

// KilledWorker is the outcome of an entry that ends every process which begins it, as far as is known. Its source is kept.
// One whose deletion had begun keeps its proof: only the deletion failed, and it may have been done.
func KilledWorker(e Entry, o Outcome, source string, kills int) Outcome {
	what := fmt.Sprintf("%d processes that worked on it died", kills)
	if o.Result != Pending {
		o.Source, o.Code = Kept, CodeDeleteFailed
		o.Reason = sentence(CodeDeleteFailed, source, e.Path, what+" while it was deleted")
		return o
	}
	return Outcome{Result: Failed, Source: Kept, Wasted: o.Wasted, Code: CodeKilledWorker,
		Reason: sentence(CodeKilledWorker, source, e.Path, what)}
}
