package configs

import "fmt"

// maxPlans bounds the list of iCloud's plans.
const maxPlans = 32

// defaultICloudPlans are the plans that Apple sells. It writes 50 GB and means 50 GiB: the free plan of "5 GB" tells a total
// of 5,368,709,120 bytes.
func defaultICloudPlans() []Size {
	const gib = 1 << 30
	return []Size{5 * gib, 50 * gib, 200 * gib, 2048 * gib, 6144 * gib, 12288 * gib}
}

// validatePlans wants sizes that rise: the next smaller plan is the one before.
func validatePlans(plans []Size, add func(field, value, problem, hint string)) {
	if len(plans) > maxPlans {
		add("icloud_plans", "", fmt.Sprintf("there are more than %d", maxPlans), "name the plans that Apple sells")
		return
	}
	for i, size := range plans {
		field := fmt.Sprintf("icloud_plans[%d]", i)
		switch {
		case size <= 0:
			add(field, size.String(), "is no size of a plan", "write a size such as 50GiB")
		case i > 0 && size <= plans[i-1]:
			add(field, size.String(), "isn't larger than the plan before it", "begin with the smallest plan, and name each once")
		}
	}
}
