package quota

// accountsKey is the set of all accounts that were ever set or charged. It lies in another slot of a cluster than the
// accounts themselves, so no script touches it.
const accountsKey = "offload:accounts"

// keys returns the keys of an account in the order in which every script expects them. Their common hash tag puts them
// in one slot of a cluster; account names hold no braces (see checkAccount).
func keys(account string) []string {
	prefix := "offload:{q:" + account + "}:"
	return []string{prefix + "account", prefix + "pools", prefix + "leases", prefix + "days"}
}
