package config

// Who may ask what of the running agent, over MQTT or on its page.

import (
	"fmt"
	"slices"
	"strings"
)

// Commands says which commands are done. None is, unless Allow names it.
type Commands struct {
	Allow    []string `yaml:"allow"`     // words of commandWords
	ReadOnly bool     `yaml:"read_only"` // nothing is done, whatever Allow says
	// Username and PasswordFile are of who may send commands to the embedded broker;
	// another broker has access rules of its own.
	Username     string `yaml:"username"`
	PasswordFile Path   `yaml:"password_file"`
}

// commandWords are what Allow may name.
var commandWords = []string{"enabled", "fps", "snapshot", "threshold", "delegate", "log_level", "restart"}

// Allows says whether a setting's word is allowed.
func (c Commands) Allows(word string) bool { return !c.ReadOnly && slices.Contains(c.Allow, word) }

// On says whether any command is done at all.
func (c Commands) On() bool { return !c.ReadOnly && len(c.Allow) > 0 }

// check tells what is wrong; page says whether commands may come from the page.
func (c Commands) check(p *collector, embedded, page bool) {
	for i, w := range c.Allow {
		if !slices.Contains(commandWords, w) {
			p.key(fmt.Sprintf("commands.allow[%d]", i), "%s is none of %s%s", shown(w), strings.Join(commandWords, ", "), didYouMean(w, commandWords))
		}
	}
	switch {
	case (c.Username == "") != (c.PasswordFile == ""):
		p.key("commands", "username and password_file belong together; one of them is missing")
	case !embedded && c.Username != "":
		p.key("commands.username", "is for the embedded broker; yours has access rules of its own")
	case embedded && c.On() && c.Username == "" && !page:
		p.key("commands.allow", "nobody may write to the embedded broker: add username and password_file under commands, or under web for the page")
	case c.Username == agentsOwnName:
		p.key("commands.username", "%s is the agent's own name at its broker; take another", agentsOwnName)
	}
}

// agentsOwnName is what the agent calls itself to the embedded broker.
const agentsOwnName = "edge-agent"

// CommandsPassword reads the password of who may send commands to the embedded
// broker; empty when there is none.
func (c *Config) CommandsPassword() (Secret, error) {
	return c.secret("commands.password_file", Secret{}, c.Commands.PasswordFile)
}
