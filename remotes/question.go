package remotes

import (
	"slices"
	"strconv"
	"strings"
)

// IsCode tells whether the question asks for the code that Apple sent.
func (q *Question) IsCode() bool { return q.Name == "config_2fa" || q.Name == "config_2fa_sms" }

// IsToken tells whether the answer is a token: a secret, though rclone doesn't call it one.
func (q *Question) IsToken() bool { return q.Name == "config_token" }

// IsPhone tells whether the question asks which phone gets the text message.
func (q *Question) IsPhone() bool { return q.Name == "config_2fa_phone" }

// IsYesNo tells whether the answers are yes and no.
func (q *Question) IsYesNo() bool {
	return len(q.Choices) == 2 && q.Choices[0].Value == "true" && q.Choices[1].Value == "false"
}

// InBrowser tells whether the question is where the browser of the sign-in is: on this machine or elsewhere.
func (q *Question) InBrowser() bool { return q.Name == "config_is_local" }

// Words says for people what rclone asks, and what the answer is called.
func (q *Question) Words() (help, prompt string) {
	switch q.Name {
	case "config_2fa":
		return "Apple has sent a code to your devices. Type it here, or sms to get a text message instead", "Code"
	case "config_2fa_sms":
		return strings.TrimSuffix(q.Help, "."), "Code"
	case "config_2fa_phone":
		return "Which phone is to get the text message?", "Phone"
	case "config_is_local":
		return "Is there a web browser on this machine? Without one the sign-in goes through another machine that has one.", "Browser"
	}
	return strings.TrimSuffix(q.Help, "."), q.Name
}

// Pick finds the answer that a text means: a choice by number or value, the default where it is empty. Where it can't be an
// answer, problem says why.
func (q *Question) Pick(text string) (answer, problem string) {
	if !q.Secret {
		text = strings.TrimSpace(text)
	}
	if text == "" {
		text = q.Default
	}
	if text == "" && q.Required {
		return "", "an answer is needed"
	}
	if slices.ContainsFunc(q.Choices, func(c Choice) bool { return c.Value == text }) {
		return text, ""
	}
	if n, err := strconv.Atoi(text); err == nil && n >= 1 && n <= len(q.Choices) {
		return q.Choices[n-1].Value, ""
	}
	if q.Name != "" && q.IsYesNo() {
		switch strings.ToLower(text) {
		case "y", "yes":
			return "true", ""
		case "n", "no":
			return "false", ""
		}
	}
	if q.Exclusive && text != q.Default {
		return "", "choose one of the numbers"
	}
	return text, ""
}
