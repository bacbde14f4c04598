package web

// The login: one user, a password of which only the bcrypt hash is kept, sessions in
// memory, and few tries.

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/time/rate"
)

// Login is who may log in.
type Login struct {
	User string
	Hash []byte // bcrypt, as HashPassword makes it
}

// What a password and its hash may be.
const (
	hashCost     = 11 // a tenth of a second here, a quarter on a Raspberry Pi 4
	mostCost     = 14 // more would hold a small board up for seconds
	LeastLetters = 8  // of a password, in bytes
	MostLetters  = 72 // bcrypt reads no more
)

// HashPassword makes the hash that is kept of a password.
func HashPassword(password string) ([]byte, error) {
	if n := len(password); n < LeastLetters || n > MostLetters {
		return nil, fmt.Errorf("a password has %d to %d bytes, this one %d", LeastLetters, MostLetters, n)
	}
	return bcrypt.GenerateFromPassword([]byte(password), hashCost)
}

// CheckHash says why a text is no hash of a password.
func CheckHash(hash []byte) error {
	cost, err := bcrypt.Cost(hash)
	switch {
	case err != nil:
		return errors.New("it is no hash of a password; edge-agent passwd writes one")
	case cost > mostCost:
		return fmt.Errorf("its cost is %d, and more than %d takes too long; edge-agent passwd writes one", cost, mostCost)
	}
	return nil
}

// How long a session lasts that is not used, how many there are, and how often one
// may try to log in.
const (
	sessionLasts = 12 * time.Hour
	mostSessions = 64
	triesAtOnce  = 5
	tryEvery     = 10 * time.Second // of one address
	allAtOnce    = 20
	allEvery     = time.Second // of all
	mostRemotes  = 256
)

// Sessions are the logins that are open. They outlive a Server, so that a reload
// throws nobody out; a changed password does. Its methods are safe for several
// goroutines.
type Sessions struct {
	key  [32]byte      // of the digests below
	turn chan struct{} // one password is hashed at a time

	mu      sync.Mutex
	open    map[[32]byte]*session // by the token's digest
	known   [32]byte              // digest of the name and password that were right last, and their hash
	remotes map[string]*rate.Limiter
	all     *rate.Limiter
}

type session struct {
	used time.Time
	hash []byte // with which it was opened
}

// NewSessions makes an empty set.
func NewSessions() *Sessions {
	s := &Sessions{
		turn: make(chan struct{}, 1), open: map[[32]byte]*session{}, remotes: map[string]*rate.Limiter{},
		all: rate.NewLimiter(rate.Every(allEvery), allAtOnce),
	}
	_, _ = rand.Read(s.key[:]) // never fails
	return s
}

// The ways in which a login fails.
var (
	errWrong = errors.New("wrong name or password")
	errOften = errors.New("too many tries; wait a little")
)

// check says whether name and password are right. Each try costs, but for the one
// that was right last: programs log in with every request.
func (s *Sessions) check(ctx context.Context, l *Login, user, password, from string) error {
	mine := s.digest(user, password, string(l.Hash))
	s.mu.Lock()
	again := subtle.ConstantTimeCompare(mine[:], s.known[:]) == 1
	if !again && !s.mayTry(from) {
		s.mu.Unlock()
		return errOften
	}
	s.mu.Unlock()
	if again {
		return nil
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	wrong := bcrypt.CompareHashAndPassword(l.Hash, []byte(password))
	<-s.turn
	if subtle.ConstantTimeCompare([]byte(user), []byte(l.User)) != 1 || wrong != nil {
		return errWrong
	}
	s.mu.Lock()
	s.known = mine
	s.mu.Unlock()
	return nil
}

// mayTry counts a try; s.mu is held.
func (s *Sessions) mayTry(from string) bool {
	l := s.remotes[from]
	if l == nil {
		for name, old := range s.remotes {
			if len(s.remotes) >= mostRemotes && old.Tokens() >= triesAtOnce {
				delete(s.remotes, name) // it has not tried for long
			}
		}
		if len(s.remotes) >= mostRemotes {
			return false
		}
		l = rate.NewLimiter(rate.Every(tryEvery), triesAtOnce)
		s.remotes[from] = l
	}
	return l.Allow() && s.all.Allow()
}

// begin opens a session and gives its token.
func (s *Sessions) begin(l *Login) string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	token := base64.RawURLEncoding.EncodeToString(b[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	var oldest [32]byte
	for id, o := range s.open {
		if time.Since(o.used) > sessionLasts {
			delete(s.open, id)
		} else if s.open[oldest] == nil || o.used.Before(s.open[oldest].used) {
			oldest = id
		}
	}
	if len(s.open) >= mostSessions {
		delete(s.open, oldest)
	}
	s.open[s.digest(token)] = &session{used: time.Now(), hash: l.Hash}
	return token
}

// valid says whether a token's session is open, and keeps it so.
func (s *Sessions) valid(token string, l *Login) bool {
	id := s.digest(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.open[id]
	if o == nil || time.Since(o.used) > sessionLasts || !bytes.Equal(o.hash, l.Hash) {
		delete(s.open, id)
		return false
	}
	o.used = time.Now()
	return true
}

// end closes a token's session.
func (s *Sessions) end(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, s.digest(token))
}

// digest keeps secrets out of memory and comparisons out of time.
func (s *Sessions) digest(parts ...string) (sum [32]byte) {
	h := hmac.New(sha256.New, s.key[:])
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	h.Sum(sum[:0])
	return sum
}
