// Checks a tlog-proof with Go's own implementation of signed notes and transparency logs (golang.org/x/mod/sumdb).
// Usage: main VKEY ENTRY-FILE PROOF-FILE. Prints "index N of SIZE" or an error with status 1.
package main

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func check(vkey, entryFile, proofFile string) (string, error) {
	entry, err := os.ReadFile(entryFile)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(proofFile)
	if err != nil {
		return "", err
	}
	head, checkpoint, found := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(lines[1], "index ") {
		return "", fmt.Errorf("not a tlog-proof")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		return "", err
	}
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return "", err
		}
		proof = append(proof, hash)
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return "", err
	}
	opened, err := note.Open([]byte(checkpoint), note.VerifierList(verifier))
	if err != nil {
		return "", err
	}
	fields := strings.Split(opened.Text, "\n")
	if len(fields) != 4 || fields[0] != verifier.Name() {
		return "", fmt.Errorf("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return "", err
	}
	var root tlog.Hash
	raw, err := base64.StdEncoding.DecodeString(fields[2])
	if err != nil || len(raw) != sha256.Size {
		return "", fmt.Errorf("no root")
	}
	copy(root[:], raw)
	if err := tlog.CheckRecord(proof, size, root, index, tlog.RecordHash(entry)); err != nil {
		return "", err
	}
	return fmt.Sprintf("index %d of %d", index, size), nil
}

func main() {
	result, err := check(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(result)
}
