package quota

// limitsKey is the set of all limits of remotes (subjects) that were ever set or charged.
const limitsKey = "offload:limits"

// accountsKey is the set of all accounts that were ever set or charged. It lies in another slot of a cluster than the
// accounts themselves, so no script touches it.
const accountsKey = "offload:accounts"

// keys returns the keys of a subject in the order in which every script expects them. Their common hash tag puts them
// in one slot of a cluster; names hold no braces (see checkSubject).
func keys(subject string) []string {
	prefix := "offload:{q:" + subject + "}:"
	return []string{prefix + "account", prefix + "pools", prefix + "leases", prefix + "days", prefix + "claims",
		prefix + "events", prefix + "closed"}
}

// setOf returns the set that names a subject, so that it is found without knowing its name.
func setOf(subject string) string {
	if _, _, remote := ParseSubject(subject); remote {
		return limitsKey
	}
	return accountsKey
}
