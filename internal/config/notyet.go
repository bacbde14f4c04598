// What the documentation of the project speaks of and this version cannot do. It
// is refused in words rather than ignored. Whoever builds one removes its line
// here.

package config

import "strings"

// notYet holds keys ("cameras.*.regions") and values ("…kind=gpu") that are
// known and not built.
var notYet = map[string]bool{
	"models.*.priority": true,
}

// comesLater says whether key, or value at key when it is not empty, stands in
// notYet.
func comesLater(key, value string) bool {
	p := pattern(key)
	if value != "" {
		p += "=" + value
	}
	return notYet[p]
}

// pattern replaces the names and numbers in a key path by stars.
func pattern(key string) string {
	steps := strings.Split(strings.ReplaceAll(key, "[", ".["), ".")
	for i, s := range steps {
		if strings.HasPrefix(s, "[") || i == 1 && (steps[0] == "models" || steps[0] == "cameras") {
			steps[i] = "*"
		}
	}
	return strings.Join(steps, ".")
}
