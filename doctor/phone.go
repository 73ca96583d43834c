package doctor

// Cause is a cause of a failed backup that only the device itself shows.
type Cause struct {
	ID    string   `json:"id"`
	What  string   `json:"what"`
	Steps []string `json:"steps"`
}

// onPhone are the causes that nothing outside of the device tells, the likeliest first.
func onPhone() []Cause {
	return []Cause{
		{"backup_on", "Is the backup switched on, and when was the last one?", []string{
			"Settings > your name > iCloud > iCloud Backup: Back Up This iPhone is on.",
			"The time of the last backup stands below Back Up Now. It can't be seen from here."}},
		{"backup_size", "How much does the next backup need?", []string{
			"Settings > your name > iCloud > Storage (or Manage Account Storage) > Backups > this device: Next Backup Size.",
			"Apps that needn't be in it can be switched off there. Then: offload doctor --backup-size SIZE"}},
		{"conditions", "Does the phone get to back up by itself?", []string{
			"It does so on Wi-Fi, connected to power, and with the screen locked: leave it so over a night.",
			"To see it at once: Settings > your name > iCloud > iCloud Backup > Back Up Now, and stay on Wi-Fi."}},
		{"low_power", "Is Low Power Mode on?", []string{"Settings > Battery: switch Low Power Mode off. It puts backups off."}},
		{"phone_storage", "Has the phone itself some room left?", []string{
			"Settings > General > iPhone Storage: a backup needs about 1 GB free on the phone to prepare itself."}},
		{"update", "Does an update wait?", []string{"Settings > General > Software Update: install what is offered, then try again."}},
		{"vpn", "Does a VPN, a filter or the router keep Apple's servers away?", []string{
			"Settings > VPN (or General > VPN & Device Management): switch the VPN off, and try again. Try another Wi-Fi, too."}},
		{"mdm", "Does a school or a company manage the phone?", []string{
			"Settings > General > VPN & Device Management: a profile there may forbid iCloud Backup. Whoever manages it can tell."}},
		{"message", "Does the phone say what is the matter?", []string{
			"The line below Back Up Now is the phone's own reason. With \"not enough storage\", make room as said above; with",
			"\"last backup could not be completed\", delete nothing: restart the phone and try Back Up Now once more."}},
	}
}
