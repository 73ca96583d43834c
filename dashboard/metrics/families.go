package metrics

import "github.com/prometheus/client_golang/prometheus"

// family is one metric of the store: docs/dashboard.md lists them, and a test holds the two together.
type family struct {
	name   string
	kind   prometheus.ValueType
	labels []string
	help   string
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// families are all metrics that a scrape reads from the store.
func families() []family {
	by := func(labels ...string) []string { return labels }
	return []family{
		{"offload_store_up", gauge, nil, "Whether the store answered this scrape; if not, all that is of the store is left out."},
		{"offload_jobs", gauge, by("state"), "Stored jobs by state."},
		{"offload_jobs_waiting", gauge, by("reason"), "Waiting jobs by what they wait for."},
		{"offload_oldest_queued_job_seconds", gauge, nil, "Age of the job that has waited longest for a worker to begin with it; 0 where none waits."},
		{"offload_transfer_rate_bytes", gauge, nil, "Bytes that all workers together move a second now."},
		{"offload_files_total", counter, by("outcome", "grade"), "Outcomes of files; a file that failed and was copied later is in both."},
		{"offload_bytes_total", counter, by("outcome", "grade"), "Bytes of the files by outcome: moved, of those copied, else their sizes."},
		{"offload_wasted_bytes_total", counter, nil, "Bytes read in vain: of attempts that failed."},
		{"offload_deleted_files_total", counter, nil, "Files deleted at sources."},
		{"offload_deleted_bytes_total", counter, nil, "Bytes of the files deleted at sources."},
		{"offload_purged_files_total", counter, nil, "Files removed from the trash of sources."},
		{"offload_purged_bytes_total", counter, nil, "Bytes of the files removed from the trash of sources."},
		{"offload_throttled_attempts_total", counter, nil, "Attempts at a file that a remote slowed down."},
		{"offload_retried_attempts_total", counter, nil, "Attempts at a file that were made again."},
		{"offload_scrub_missing_files_total", counter, nil, "Offloaded files that scrubs found missing at the destination."},
		{"offload_scrub_different_files_total", counter, nil, "Offloaded files that scrubs found different from what was proved."},
		{"offload_last_outcome_timestamp_seconds", gauge, nil, "When the last file got its outcome."},
		{"offload_quota_used_bytes", gauge, by("account"), "Traffic used in the running month."},
		{"offload_quota_reserved_bytes", gauge, by("account"), "Traffic set aside for files under way."},
		{"offload_quota_wasted_bytes", gauge, by("account"), "The part of the used traffic that was read in vain."},
		{"offload_quota_limit_bytes", gauge, by("account"), "Traffic allowed a month; +Inf where it is unlimited."},
		{"offload_quota_reset_timestamp_seconds", gauge, by("account"), "When the next month of the account begins."},
		{"offload_remote_used_bytes", gauge, by("remote", "period"), "Traffic of a remote that has a limit, in the running day or month."},
		{"offload_remote_limit_bytes", gauge, by("remote", "period"), "The limit of a remote's traffic a day or month."},
		{"offload_remote_used_calls", gauge, by("remote"), "API calls to a remote that has a limit of them, in the running month."},
		{"offload_remote_limit_calls", gauge, by("remote"), "The limit of API calls to a remote a month."},
		{"offload_remote_trust_seconds", gauge, by("remote"), "For how long the cloud still trusts the sign-in, in whole days."},
		{"offload_remote_storage_bytes", gauge, by("remote", "kind"), "Room used at the cloud by kind, as last measured."},
		{"offload_remote_storage_used_bytes", gauge, by("remote"), "Room used at the cloud, as last measured."},
		{"offload_remote_storage_limit_bytes", gauge, by("remote"), "Room that the cloud has in all, as last measured."},
		{"offload_workers", gauge, by("state", "version"), "Workers of the pool by state and version."},
		{"offload_worker_units", gauge, by("kind"), "What workers may do at once (capacity) and have in hand (busy): batches, scans, ends of jobs."},
		{"offload_worker_files", gauge, nil, "Files that workers move now."},
		{"offload_queue_tickets", gauge, by("queue", "state"), "Tickets of the queue; archived ones are lost to it, there should be none."},
		{"offload_queue_latency_seconds", gauge, by("queue"), "For how long the oldest ticket of the queue has waited."},
		{"offload_store_memory_bytes", gauge, by("node"), "Memory that the store's server uses, where it tells."},
		{"offload_store_memory_limit_bytes", gauge, by("node"), "Memory that the store's server may use; +Inf where there is no limit."},
		{"offload_store_file_bytes", gauge, by("node"), "Size of the store's append-only file."},
		{"offload_store_persistent", gauge, by("node"), "Whether the store keeps an append-only file and can write it."},
		{"offload_store_replicas", gauge, by("node"), "Replicas that are connected, where it tells."},
		{"offload_store_replica_lag_seconds", gauge, by("node"), "Since when the slowest replica wasn't heard of, where it tells."},
	}
}
