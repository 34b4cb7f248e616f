package console

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// How long sessions and links last.
const (
	sessionIdle  = 30 * time.Minute // without a visit
	sessionRenew = time.Minute      // a visit renews a session that is older
	sessionMost  = 12 * time.Hour
	linkLife     = 10 * time.Minute
)

// sealing seals small values that a browser keeps, for one purpose. The key
// comes from the secret key of the root credential, which all replicas share.
// So another replica opens the value, and another secret does not.
type sealing struct{ aead cipher.AEAD }

// keyRounds makes each guess of a secret key expensive for somebody who has a
// cookie or a link (PBKDF2, RFC 8018).
const keyRounds = 210_000

// masterKey derives the key of all sealings from the secret key of the root
// credential. It takes a tenth of a second.
func masterKey(secret string) []byte {
	key, err := pbkdf2.Key(sha512.New, secret, []byte("ssegw console v1"), keyRounds, 32)
	if err != nil {
		panic(err) // the length is in range
	}
	return key
}

func newSealing(master []byte, purpose string) *sealing {
	key, err := hkdf.Expand(sha256.New, master, "ssegw console v1 "+purpose, 32)
	if err != nil {
		panic(err) // the length is in range
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // the block has 16 bytes
	}
	return &sealing{aead}
}

func (s *sealing) seal(v any) string {
	plain, err := json.Marshal(v)
	if err != nil {
		panic("console: value does not marshal: " + err.Error()) // its types always do
	}
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, plain, nil))
}

var errNotOurs = errors.New("console: not sealed by this gateway")

func (s *sealing) open(text string, v any) error {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return errNotOurs
	}
	plain, err := s.aead.Open(nil, nil, b, nil)
	if err != nil || json.Unmarshal(plain, v) != nil {
		return errNotOurs
	}
	return nil
}

// session is the content of the cookie.
type session struct {
	ID        string    `json:"id"`
	AccessKey string    `json:"accessKey"`
	Proof     []byte    `json:"proof"` // of the credential's secret key: another secret ends the session
	Since     time.Time `json:"since"` // the sign-in
	Renewed   time.Time `json:"renewed"`

	changes bool // the user may change things
}

func newID() string { return rand.Text() }

// proofOf proves that a session began with a secret key, and does not tell it.
func proofOf(id, secret string) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte("ssegw console session " + id))
	return h.Sum(nil)
}

// secretOf returns the secret key of a credential that may sign in, and whether
// it may change things.
func (s *Server) secretOf(accessKey string) (secret string, changes, ok bool) {
	if accessKey == s.AccessKey {
		return s.SecretKey, true, true
	}
	secret, ok = s.Viewer(accessKey)
	return secret, false, ok
}

func (s *Server) newSession(accessKey, secret string) *session {
	now := time.Now().UTC()
	id := newID()
	return &session{ID: id, AccessKey: accessKey, Proof: proofOf(id, secret), Since: now, Renewed: now}
}

// sessionOf returns the session of a request, or nil if there is none that is
// still good.
func (s *Server) sessionOf(ctx context.Context, r *http.Request) *session {
	cookie, err := r.Cookie(s.cookieName(r))
	if err != nil {
		return nil
	}
	v := &session{}
	if s.seals().sessions.open(cookie.Value, v) != nil || v.isOver(time.Now()) {
		return nil
	}
	secret, changes, ok := s.secretOf(v.AccessKey)
	if !ok || !hmac.Equal(v.Proof, proofOf(v.ID, secret)) || s.ended.has(ctx, v.ID) {
		return nil
	}
	v.changes = changes
	return v
}

// isOver reports whether the session's time is over.
func (v *session) isOver(now time.Time) bool {
	return now.Sub(v.Renewed) > sessionIdle || now.Sub(v.Since) > sessionMost
}

// renew gives the browser a session with more time, if a person uses it.
// Requests of live parts do not count, or an open page would never sign out.
func (s *Server) renew(w http.ResponseWriter, r *http.Request, v *session) {
	if r.Header.Get("Hx-Request") == "" && time.Since(v.Renewed) > sessionRenew {
		v.Renewed = time.Now().UTC()
		s.setCookie(w, r, v)
	}
}

// cookieName returns the name of the cookie. Browsers send cookies to all ports
// of a host, so it differs between installations. On https its prefix keeps
// plain http from setting it (RFC 6265bis, section 4.1.3).
func (s *Server) cookieName(r *http.Request) string {
	sum := sha256.Sum256([]byte(s.AccessKey + "\n" + s.Store + "\n" + s.State.Bucket()))
	name := "ssegw-console-" + hex.EncodeToString(sum[:4])
	if s.IsSecure(r, baseOf(r) == PathOnS3) {
		return "__Secure-" + name
	}
	return name
}

// setCookie gives the browser a session; nil takes it away.
func (s *Server) setCookie(w http.ResponseWriter, r *http.Request, v *session) {
	cookie := &http.Cookie{
		Name: s.cookieName(r), Path: baseOf(r), HttpOnly: true, Secure: s.IsSecure(r, baseOf(r) == PathOnS3), SameSite: http.SameSiteStrictMode,
		MaxAge: -1,
	}
	if v != nil {
		cookie.Value, cookie.MaxAge = s.seals().sessions.seal(v), int(sessionIdle/time.Second)
	}
	http.SetCookie(w, cookie)
}
