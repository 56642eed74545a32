// Sends one error by Sentry's Go SDK, as an application does: `go run . <dsn>` prints the event's id.
package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/getsentry/sentry-go"
)

func main() {
	err := sentry.Init(sentry.ClientOptions{
		Dsn:         os.Args[1],
		Release:     "go-app@1.2.3",
		Environment: "test",
	})
	if err != nil {
		panic(err)
	}
	sentry.ConfigureScope(func(scope *sentry.Scope) {
		scope.SetTag("flavour", "go")
		scope.SetUser(sentry.User{ID: "u-1", Email: "ada@example.com"})
		scope.SetContext("deep", sentry.Context{"list": []any{1, "two", 3.5}})
	})
	id := sentry.CaptureException(errors.New("the gopher fell over"))
	if id == nil || !sentry.Flush(10*time.Second) {
		fmt.Fprintln(os.Stderr, "the event was not sent")
		os.Exit(1)
	}
	fmt.Println(*id)
}
