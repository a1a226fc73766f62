package config

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/rpicluster/vitals/internal/pin"
)

func TestADestinationIsTiedToItsKey(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	f := func(text string) error {
		t.Helper()
		c, err := (&Destination{URL: s.URL, Pin: text}).TLS()
		if err != nil {
			t.Fatal(err)
		}
		client := http.Client{Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}}
		resp, err := client.Get(s.URL)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := f(pin.Of(s.Certificate())); err != nil {
		t.Errorf("its own key: %v", err)
	}
	if err := f(aPin); !errors.As(err, new(*pin.MismatchError)) {
		t.Errorf("another: %v", err)
	}
	if err := f(""); err == nil {
		t.Error("without a pin a certificate of nobody is trusted")
	}
}
