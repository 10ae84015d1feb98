package cli

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

type connectorLoginCmd struct {
	controlPort
	Name string `arg:"" help:"Name of the server."`
	Word string `help:"Finish a login that was begun before with the word that the browser showed." placeholder:"XXXX-XXXX"`
}

// Run begins the consent of the key's own user, waits for the word of the page and finishes.
func (c *connectorLoginCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	word := c.Word
	if word == "" {
		begun, err := a.BeginServerLogin(sh.ctx, c.Name)
		if err != nil {
			return err
		}
		fmt.Fprintf(sh.out, "Open this in your own browser, before %s, and agree there:\n\n    %s\n\nThen type the word that it shows: ", begun.Expires.Local().Format("15:04"), clean(begun.URL))
		if word, err = readWord(sh); err != nil {
			return err
		}
	}
	done, err := a.FinishServerLogin(sh.ctx, c.Name, strings.ToUpper(strings.TrimSpace(word)))
	if err != nil {
		return err
	}
	fmt.Fprintf(sh.out, "the gateway may use %s for you%s\n", clean(c.Name), grantedWords(done))
	return nil
}

// readWord reads one line of standard input.
func readWord(sh *shell) (string, error) {
	lines := bufio.NewScanner(sh.in)
	if !lines.Scan() || strings.TrimSpace(lines.Text()) == "" {
		return "", &hinted{errors.New("no word was typed"), "type the word that the browser shows, or give it later: gatewright connector login NAME --word XXXX-XXXX"}
	}
	return lines.Text(), nil
}

func grantedWords(d *gatewright.ServerGrant) string {
	text := ""
	if len(d.Scopes) > 0 {
		text = ", with " + clean(strings.Join(d.Scopes, " "))
	}
	if d.Expires != nil {
		text += ", until " + d.Expires.Local().Format("2006-01-02 15:04")
	}
	return text
}

type connectorLogoutCmd struct {
	controlPort
	Name string `arg:"" help:"Name of the server."`
}

// Run forgets the consent of the key's own user.
func (c *connectorLogoutCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	if err := a.EndServerLogin(sh.ctx, c.Name); err != nil {
		return err
	}
	fmt.Fprintf(sh.out, "the gateway uses %s for you no more\n", clean(c.Name))
	return nil
}
