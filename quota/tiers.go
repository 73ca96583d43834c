package quota

// Tiers returns the plans of this installation.
func (l *Ledger) Tiers() []Tier { return append([]Tier(nil), l.cfg.Tiers...) }

// Under returns a forecaster that has looked at the same as this one, but to which the account has another plan: what used
// and reserved stays, and the plan's limit holds.
func (f *Forecaster) Under(account string, t Tier) *Forecaster {
	other := &Forecaster{ledger: f.ledger, looks: map[string]look{}}
	for subject, k := range f.looks {
		other.looks[subject] = k
	}
	k, ok := other.looks[account]
	if !ok {
		return other
	}
	k.st.Plan, k.st.Limit, k.st.OwnLimit, k.st.Why, k.st.Available = t.Name, t.Limit, false, "", Unlimited
	if t.Limit != Unlimited {
		k.st.Available = max(0, t.Limit-k.st.Used-k.st.Reserved)
	}
	other.looks[account] = k
	return other
}
