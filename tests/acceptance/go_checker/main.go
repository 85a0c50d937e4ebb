// Checks a ledger with Go's own implementation of signed notes and transparency logs (golang.org/x/mod/sumdb).
// Usage: main proof VKEY ENTRY-FILE PROOF-FILE          prints "index N of SIZE"
//        main tree VKEY OLD-CHECKPOINT DIR              DIR as served or exported: checkpoint and tile/...; recomputes the root
//                                                       from the tiles, checks every tile that it reads against it, and that the
//                                                       log extends the old checkpoint; prints "size N extends M"
// An error is printed with status 1.
package main

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func checkpoint(vkey string, text []byte) (int64, tlog.Hash, error) {
	var root tlog.Hash
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return 0, root, err
	}
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return 0, root, err
	}
	fields := strings.Split(opened.Text, "\n")
	if len(fields) != 4 || fields[0] != verifier.Name() {
		return 0, root, fmt.Errorf("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0, root, err
	}
	raw, err := base64.StdEncoding.DecodeString(fields[2])
	if err != nil || len(raw) != sha256.Size {
		return 0, root, fmt.Errorf("no root")
	}
	copy(root[:], raw)
	return size, root, nil
}

func checkProof(vkey, entryFile, proofFile string) (string, error) {
	entry, err := os.ReadFile(entryFile)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(proofFile)
	if err != nil {
		return "", err
	}
	head, signed, found := strings.Cut(string(text), "\n\n")
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
	size, root, err := checkpoint(vkey, []byte(signed))
	if err != nil {
		return "", err
	}
	if err := tlog.CheckRecord(proof, size, root, index, tlog.RecordHash(entry)); err != nil {
		return "", err
	}
	return fmt.Sprintf("index %d of %d", index, size), nil
}

// tiles reads tiles of height 8 from a folder. Go names them tile/8/<L>/<N>, C2SP tlog-tiles without the height.
type tiles struct{ folder string }

func (t tiles) Height() int { return 8 }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		found, err := os.ReadFile(filepath.Join(t.folder, path))
		if err != nil {
			return nil, err
		}
		data = append(data, found)
	}
	return data, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func checkTree(vkey, oldFile, folder string) (string, error) {
	text, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return "", err
	}
	size, root, err := checkpoint(vkey, text)
	if err != nil {
		return "", err
	}
	older, err := os.ReadFile(oldFile)
	if err != nil {
		return "", err
	}
	oldSize, oldRoot, err := checkpoint(vkey, older)
	if err != nil {
		return "", err
	}
	reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, tiles{folder})
	// Every leaf hash is read through the tiles, each of which the reader proves against the root.
	leaves := make([]tlog.Hash, 0, size)
	for first := int64(0); first < size; first += 256 {
		var indexes []int64
		for n := first; n < size && n < first+256; n++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, n))
		}
		hashes, err := reader.ReadHashes(indexes)
		if err != nil {
			return "", err
		}
		leaves = append(leaves, hashes...)
	}
	// The root follows from the leaves alone.
	computed, err := rootOf(leaves)
	if err != nil {
		return "", err
	}
	if computed != root {
		return "", fmt.Errorf("the root that follows from the tiles is another")
	}
	proof, err := tlog.ProveTree(size, oldSize, reader)
	if err != nil {
		return "", err
	}
	if err := tlog.CheckTree(proof, size, root, oldSize, oldRoot); err != nil {
		return "", err
	}
	return fmt.Sprintf("size %d extends %d", size, oldSize), nil
}

func rootOf(leaves []tlog.Hash) (tlog.Hash, error) {
	if len(leaves) == 1 {
		return leaves[0], nil
	}
	split := 1
	for split*2 < len(leaves) {
		split *= 2
	}
	left, err := rootOf(leaves[:split])
	if err != nil {
		return left, err
	}
	right, err := rootOf(leaves[split:])
	if err != nil {
		return right, err
	}
	return tlog.NodeHash(left, right), nil
}

func main() {
	var result string
	err := fmt.Errorf("wrong use")
	if len(os.Args) == 5 && os.Args[1] == "proof" {
		result, err = checkProof(os.Args[2], os.Args[3], os.Args[4])
	} else if len(os.Args) == 5 && os.Args[1] == "tree" {
		result, err = checkTree(os.Args[2], os.Args[3], os.Args[4])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(result)
}
