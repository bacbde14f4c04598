package main

// The page's login: what the config says of it, and edge-agent passwd, which writes the
// password's hash.

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"edgeagent/internal/config"
	"edgeagent/internal/exit"
	"edgeagent/internal/web"
)

// webConfig reads what the config says of the page: address, login, certificates. The
// errors carry exit codes.
func webConfig(cfg *config.Config) (web.Config, error) {
	w := cfg.Web
	c := web.Config{Listen: w.Listen, Profiles: w.Pprof}
	if w.PasswordFile != "" {
		hash, err := cfg.WebPassword()
		if err != nil {
			return c, fileCode(err)
		}
		c.Login = &web.Login{User: w.Username, Hash: []byte(strings.TrimSpace(hash.Reveal()))}
		if err := web.CheckHash(c.Login.Hash); err != nil {
			return c, exit.Errorf(exit.Config, "web.password_file: %s: %w", w.PasswordFile, err)
		}
	}
	if w.TLS.Cert == "" {
		return c, nil
	}
	files := map[string]string{}
	for key, p := range map[string]config.Path{"cert": w.TLS.Cert, "key": w.TLS.Key, "client_ca": w.TLS.ClientCA} {
		found, searched := cfg.Resolve(p)
		if found == "" && p != "" {
			return c, exit.Errorf(exit.NoInput, "web.tls.%s: %s was not found; searched %s", key, p, strings.Join(searched, ", "))
		}
		files[key] = found
	}
	pair, err := tls.LoadX509KeyPair(files["cert"], files["key"])
	if err != nil {
		return c, exit.Errorf(exit.Data, "web.tls: %w", err)
	}
	c.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if files["client_ca"] == "" {
		return c, nil
	}
	pem, err := os.ReadFile(files["client_ca"])
	if err != nil {
		return c, fileCode(err)
	}
	c.TLS.ClientCAs, c.TLS.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !c.TLS.ClientCAs.AppendCertsFromPEM(pem) {
		return c, exit.Errorf(exit.Data, "web.tls.client_ca: %s holds no certificate", files["client_ca"])
	}
	return c, nil
}

func newPasswd() *cobra.Command {
	return &cobra.Command{
		Use:   "passwd FILE",
		Short: "Write the hash of a password for the page's login",
		Long: `passwd asks twice for a password, without showing it, and writes its bcrypt hash to
a file that only its owner may read. Where there is no terminal it reads the
password as one line from standard input. The config then names the file:

  web:
    username: admin
    password_file: web-password

Whoever logs in on the page may see the cameras' pictures, the config and the log,
and may do what commands.allow names. Beyond this machine use https as well
(web.tls), or the password can be read on the way.`,
		Example: `  edge-agent passwd web-password
  sudo edge-agent passwd /etc/edge-agent/web-password && sudo chown edge-agent: /etc/edge-agent/web-password
  pwgen 20 1 | edge-agent passwd web-password`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("name one file: edge-agent passwd FILE")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := askPassword(cmd.InOrStdin(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			hash, err := web.HashPassword(password)
			if err != nil {
				return exit.With(exit.Data, err)
			}
			if err = renameio.WriteFile(args[0], append(hash, '\n'), 0o600, renameio.IgnoreUmask()); err != nil {
				return exit.With(exit.IO, err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "written: %s; name it in the config: web: {username: …, password_file: %s}\n", args[0], args[0])
			return exit.With(exit.IO, err)
		},
	}
}

// askPassword asks for a password, twice where there is a terminal.
func askPassword(in io.Reader, out io.Writer) (string, error) {
	f, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", exit.With(exit.IO, err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	var answers [2]string
	for i, prompt := range []string{"password: ", "once more: "} {
		_, _ = io.WriteString(out, prompt)
		b, err := term.ReadPassword(int(f.Fd()))
		_, _ = io.WriteString(out, "\n")
		if err != nil {
			return "", exit.With(exit.IO, err)
		}
		answers[i] = string(b)
	}
	if answers[0] != answers[1] {
		return "", exit.Errorf(exit.Data, "the two are not the same; nothing was written")
	}
	return answers[0], nil
}
