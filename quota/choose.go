package quota

// TierFor returns the smallest plan whose allowance carries so many bytes in one period; false where none does.
func (l *Ledger) TierFor(bytes int64) (Tier, bool) { return tierFor(l.cfg.Tiers, bytes) }

func tierFor(tiers []Tier, bytes int64) (Tier, bool) {
	var best Tier
	found := false
	for _, t := range tiers {
		carries := t.Limit == Unlimited || t.Limit >= bytes
		smaller := !found || best.Limit == Unlimited || t.Limit != Unlimited && t.Limit < best.Limit
		if carries && smaller {
			best, found = t, true
		}
	}
	return best, found
}
