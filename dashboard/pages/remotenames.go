package pages

// remoteNames are the configured remotes; false where the dashboard doesn't know them.
func (p *Pages) remoteNames() ([]string, bool) {
	if p.cfg.Remotes == nil {
		return nil, false
	}
	return p.cfg.Remotes.GetSectionList(), true
}
