package console

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.uber.org/zap"
)

var errDenied = errors.New("console: access denied")

// signInPages serves people who are not signed in, and those who leave.
type signInPages struct{ *Server }

// signInForm is what the sign-in page shows.
type signInForm struct {
	AccessKey string
	Error     string
}

func (s signInPages) signInPage(w http.ResponseWriter, r *http.Request) {
	if userOf(r) != nil {
		redirect(w, r, "")
		return
	}
	s.show(w, r, http.StatusOK, "sign-in", &page{Title: "Sign in", Data: signInForm{}})
}

// signIn begins a session for somebody who knows the secret key of a
// credential.
func (s signInPages) signIn(w http.ResponseWriter, r *http.Request) {
	accessKey, secret := r.PostFormValue("access-key"), r.PostFormValue("secret-key")
	verified, allowed := s.attempts.try(s.Address(r), func() bool { return s.isSecret(accessKey, secret) })
	form := signInForm{AccessKey: accessKey}
	switch {
	case verified:
		s.begin(w, r, accessKey, secret)
		redirect(w, r, "")
		return
	case !allowed:
		form.Error = "Too many attempts have failed. Wait a minute, then try again."
		w.Header().Set("Retry-After", strconv.Itoa(int(attemptsEvery/time.Second)))
		s.show(w, r, http.StatusTooManyRequests, "sign-in", &page{Title: "Sign in", Data: form})
	default:
		form.Error = "The access key or the secret key is wrong."
		s.show(w, r, http.StatusForbidden, "sign-in", &page{Title: "Sign in", Data: form})
	}
	s.Log.Warn("console: sign-in refused", zap.String("remote", s.Address(r)), zap.Bool("limited", !allowed))
	if allowed { // otherwise anybody could fill the audit file
		s.auditAs("", change{action: "SignIn"}, errDenied)
	}
}

// isSecret compares a secret in constant time, also for unknown access keys.
func (s signInPages) isSecret(accessKey, secret string) bool {
	right, _, known := s.secretOf(accessKey)
	a, b := sha256.Sum256([]byte(secret)), sha256.Sum256([]byte(right))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && known
}

// begin gives the browser a session.
func (s signInPages) begin(w http.ResponseWriter, r *http.Request, accessKey, secret string) {
	s.setCookie(w, r, s.newSession(accessKey, secret))
	s.Log.Info("console: signed in", zap.String("access_key", accessKey), zap.String("remote", s.Address(r)))
	s.auditAs(accessKey, change{action: "SignIn"}, nil)
}

// signOut ends the session everywhere.
func (s signInPages) signOut(w http.ResponseWriter, r *http.Request) {
	v := userOf(r)
	err := s.ended.add(r.Context(), v.ID, v.Since.Add(sessionMost))
	s.setCookie(w, r, nil)
	w.Header().Set("Clear-Site-Data", `"cache"`)
	s.audit(r, change{action: "SignOut"}, nil)
	if err != nil && !errors.Is(err, errUsed) {
		s.Log.Error("console: sign-out not shared with other replicas", zap.Error(err))
	}
	redirect(w, r, "sign-in")
}

// link is the content of a link that signs in.
type link struct {
	ID    string    `json:"id"`
	Until time.Time `json:"until"`
}

// NewLink returns a link that signs in with the root credential, once and for a
// few minutes. console is the URL of the console and ends in a slash. secret is
// the root credential's.
func NewLink(console, secret string) string {
	token := newSealing(masterKey(secret), "link").seal(link{newID(), time.Now().Add(linkLife).UTC()})
	return console + "link?" + url.Values{"token": {token}}.Encode()
}

// linkPage asks for a click, because programs that look at links must not use
// them up. With scripts the page goes on by itself.
func (s signInPages) linkPage(w http.ResponseWriter, r *http.Request) {
	s.show(w, r, http.StatusOK, "link", &page{Title: "Sign in", Data: r.URL.Query().Get("token")})
}

// useLink signs in somebody who has such a link.
func (s signInPages) useLink(w http.ResponseWriter, r *http.Request) {
	var err error
	verified, allowed := s.attempts.try(s.Address(r), func() bool {
		err = s.use(r)
		return err == nil
	})
	if verified {
		s.begin(w, r, s.AccessKey, s.SecretKey)
		redirect(w, r, "")
		return
	}
	text := "A link signs in once, within ten minutes. Make another one with ssegw console, or sign in with the keys."
	switch {
	case !allowed:
		text = "Too many attempts have failed. Wait a minute, then try again."
	case !errors.Is(err, errNotOurs) && !errors.Is(err, errDenied) && !errors.Is(err, errUsed):
		text = "The gateway cannot record that the link was used, because it does not reach its state. Sign in with the keys."
		s.Log.Error("console: use of a link not recorded", zap.Error(err))
	default:
		s.auditAs("", change{action: "SignIn"}, errDenied)
	}
	s.problem(w, r, http.StatusForbidden, "This link does not work", text)
}

// use uses up the link of a request.
func (s signInPages) use(r *http.Request) error {
	var l link
	if err := s.seals().links.open(r.PostFormValue("token"), &l); err != nil {
		return err
	}
	if time.Now().After(l.Until) {
		return errDenied
	}
	return s.ended.add(r.Context(), l.ID, l.Until)
}
