// Receives webhooks: verifies the signature, answers at once, works afterwards, and detects duplicates.
//
// HOOKWRIGHT_SIGNING_SECRET is the webhook's secret, PORT the port on this machine (4567).
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// The largest payload that Hookwright sends, unless its operator changed the limit.
const bodyBytesMax = 5_242_880

func main() {
	key, err := secretKey(os.Getenv("HOOKWRIGHT_SIGNING_SECRET"))
	if err != nil {
		log.Fatal("HOOKWRIGHT_SIGNING_SECRET: ", err)
	}
	port := os.Getenv("PORT")
	if port == "" {
		port = "4567"
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	inbox := newInbox()
	go inbox.work()
	fmt.Printf("listening on http://%s\n", listener.Addr())
	server := http.Server{Handler: receiver{key, inbox}, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute}
	log.Fatal(server.Serve(listener))
}

type receiver struct {
	key   []byte
	inbox *inbox
}

func (r receiver) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	// The signature covers the raw bytes, not JSON that was parsed and serialized again.
	body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, bodyBytesMax))
	if err != nil {
		response.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	if err := verify(r.key, body, request.Header, time.Now()); err != nil {
		fmt.Println("refused:", err)
		response.WriteHeader(http.StatusUnauthorized)
		return
	}
	received := message{request.Header.Get("webhook-id"), request.Header.Get("TT-Hook-Event"), body}
	switch err := r.inbox.put(received); {
	case errors.Is(err, errRepeated):
		fmt.Println("repeated", received.event, received.id)
	case err != nil:
		response.WriteHeader(http.StatusServiceUnavailable) // it will be sent again
		return
	}
	response.WriteHeader(http.StatusNoContent)
}

type message struct {
	id, event string
	body      []byte
}

// inbox contains received events until they are processed. This one is in memory, so a restart loses events that were already
// answered with success. A service should insert a row into its database here, with `webhook-id` as the unique key, which
// also replaces `seen`.
type inbox struct {
	waiting chan message
	mutex   sync.Mutex
	seen    map[string]bool
	order   []string // the ids of seen, oldest first
}

const (
	waitingMax = 1_000
	seenMax    = 100_000
)

var (
	errRepeated = errors.New("received before")
	errFull     = errors.New("too much waits")
)

func newInbox() *inbox {
	return &inbox{waiting: make(chan message, waitingMax), seen: map[string]bool{}}
}

// put fails for a duplicate, and when the queue is full; then the id still counts as new.
func (i *inbox) put(received message) error {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	if i.seen[received.id] {
		return errRepeated
	}
	select {
	case i.waiting <- received:
	default:
		return errFull
	}
	i.seen[received.id] = true
	i.order = append(i.order, received.id)
	if len(i.order) > seenMax {
		delete(i.seen, i.order[0])
		i.order = i.order[1:]
	}
	return nil
}

// work processes the events, one at a time.
func (i *inbox) work() {
	for received := range i.waiting {
		fmt.Println("verified", received.event, received.id)
	}
}
