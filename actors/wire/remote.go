package wire

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
)

// ServerName is what an engine's certificate is for, whatever its address: it is
// known by its authority, which a client has from joining.
const ServerName = "arcbox-engine"

// What clients of other hosts speak, by ALPN: the endpoint, a byte stream, joining.
const (
	SpeakEngine = "arcbox-engine/1"
	SpeakStream = "arcbox-stream/1"
	SpeakJoin   = "arcbox-join/1"
)

// Token is what an invitation's token carries.
type Token struct {
	Address string `json:"a"`
	Pin     string `json:"p"` // digest of the authority's certificate
	Secret  string `json:"s"`
}

const (
	tokenPrefix = "arcbox1." // so that one is known for what it is
	maxToken    = 2 << 10
)

// String is the token as people pass it on.
func (t Token) String() string {
	data, _ := json.Marshal(t) // strings can't fail
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(data)
}

// ParseToken reads a token.
func ParseToken(text string) (t Token, err error) {
	body, ok := strings.CutPrefix(text, tokenPrefix)
	if !ok || len(text) > maxToken {
		return Token{}, errors.New("a token begins with " + tokenPrefix + " and is one word")
	}
	data, err := base64.RawURLEncoding.DecodeString(body)
	if err == nil {
		err = json.Unmarshal(data, &t)
	}
	if err != nil || t.Address == "" || t.Pin == "" || t.Secret == "" {
		return Token{}, errors.New("the token is cut off or was changed on its way")
	}
	return t, nil
}

// JoinRequest is one line of JSON, and so is its answer.
type JoinRequest struct {
	Secret string `json:"secret"`
	Key    []byte `json:"key"` // public, PKIX
}

// JoinReply answers a JoinRequest; the certificate is PEM.
type JoinReply struct {
	Error       string `json:"error,omitempty"`
	Name        string `json:"name,omitempty"`
	Role        string `json:"role,omitempty"`
	Certificate string `json:"certificate,omitempty"`
}
