// Checks what `tlog_log` wrote with Go's own implementation of transparency logs (the one that the Go
// module proxy rests on): golang.org/x/mod/sumdb/note and /tlog. No code of the product is used here.
//
//	verify FOLDER: FOLDER/vkey, FOLDER/witness-vkey, FOLDER/tiles, FOLDER/bundle, FOLDER/consistency
//
// Ends with one line of counts, or with the first thing that does not hold.
package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func fail(format string, arguments ...interface{}) {
	fmt.Fprintf(os.Stderr, "verify: "+format+"\n", arguments...)
	os.Exit(1)
}

func read(parts ...string) []byte {
	bytes, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		fail("%v", err)
	}
	return bytes
}

// A cosignature/v1 of C2SP tlog-cosignature: Ed25519 over a header with the time and the note's text.
type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return w.hash }
func (w witness) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	header := fmt.Sprintf("cosignature/v1\ntime %d\n", binary.BigEndian.Uint64(sig[:8]))
	return ed25519.Verify(w.key, append([]byte(header), msg...), sig[8:])
}

func newWitness(vkey string) witness {
	parts := strings.SplitN(strings.TrimSpace(vkey), "+", 3)
	hash, err := strconv.ParseUint(parts[1], 16, 32)
	key, err2 := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || err2 != nil || len(key) != 33 || key[0] != 4 {
		fail("the witness key is malformed")
	}
	return witness{parts[0], uint32(hash), key[1:]}
}

type checkpoint struct {
	size int64
	root tlog.Hash
}

func parseCheckpoint(text string) checkpoint {
	lines := strings.Split(text, "\n")
	if len(lines) < 3 {
		fail("a checkpoint has too few lines")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	root, err2 := tlog.ParseHash(lines[2])
	if err != nil || err2 != nil {
		fail("a checkpoint is malformed")
	}
	return checkpoint{size, root}
}

func openCheckpoint(bytes []byte, verifier note.Verifier) (checkpoint, error) {
	opened, err := note.Open(bytes, note.VerifierList(verifier))
	if err != nil {
		return checkpoint{}, err
	}
	return parseCheckpoint(opened.Text), nil
}

func tileNumber(n int64) string {
	text := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		text = fmt.Sprintf("x%03d/%s", n%1000, text)
	}
	return text
}

func tilePath(root, level string, n int64, width int64) string {
	path := filepath.Join(root, "tile", level, tileNumber(n))
	if width < 256 {
		path += ".p/" + strconv.FormatInt(width, 10)
	}
	return path
}

type hashes []tlog.Hash

func (h *hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var found []tlog.Hash
	for _, index := range indexes {
		if index >= int64(len(*h)) {
			return nil, fmt.Errorf("no hash %d", index)
		}
		found = append(found, (*h)[index])
	}
	return found, nil
}

// The whole log again from the entries alone.
func rebuild(root string, size int64) (*hashes, int) {
	stored := &hashes{}
	tiles := 0
	n := int64(0)
	for first := int64(0); first < size; first += 256 {
		width := size - first
		if width > 256 {
			width = 256
		}
		entries := read(tilePath(root, "entries", first/256, width))
		leaves := read(tilePath(root, "0", first/256, width))
		tiles++
		for i := int64(0); i < width; i++ {
			length := int(binary.BigEndian.Uint16(entries))
			entry := entries[2 : 2+length]
			entries = entries[2+length:]
			hash := tlog.RecordHash(entry)
			if !bytes.Equal(hash[:], leaves[32*i:32*i+32]) {
				fail("tile %d has another hash for entry %d", first/256, n)
			}
			more, err := tlog.StoredHashes(n, entry, stored)
			if err != nil {
				fail("%v", err)
			}
			*stored = append(*stored, more...)
			n++
		}
	}
	return stored, tiles
}

func checkBundle(folder string, verifier note.Verifier) (int, int) {
	good, refused := 0, 0
	for _, line := range bytes.Split(bytes.TrimSuffix(read(folder, "records.jsonl"), []byte("\n")), []byte("\n")) {
		var record struct{ Index int64 }
		if err := json.Unmarshal(line, &record); err != nil {
			fail("%v", err)
		}
		proof := string(read(folder, "proofs", fmt.Sprintf("%d.tlog-proof", record.Index)))
		head := strings.SplitN(proof, "\n\n", 2)
		lines := strings.Split(head[0], "\n")
		if lines[0] != "c2sp.org/tlog-proof@v1" || lines[1] != fmt.Sprintf("index %d", record.Index) {
			fail("the proof of record %d is malformed", record.Index)
		}
		var path tlog.RecordProof
		for _, text := range lines[2:] {
			hash, err := tlog.ParseHash(text)
			if err != nil {
				fail("%v", err)
			}
			path = append(path, hash)
		}
		signed, err := openCheckpoint([]byte(head[1]), verifier)
		if err != nil {
			fail("record %d: %v", record.Index, err)
		}
		if err := tlog.CheckRecord(path, signed.size, signed.root, record.Index, tlog.RecordHash(line)); err != nil {
			fail("record %d: %v", record.Index, err)
		}
		good++
		// The same proof must not hold for a record with one bit flipped, nor for another place.
		altered := append([]byte(nil), line...)
		altered[len(altered)/2] ^= 1
		if tlog.CheckRecord(path, signed.size, signed.root, record.Index, tlog.RecordHash(altered)) == nil {
			fail("record %d: its proof holds for an altered record", record.Index)
		}
		if tlog.CheckRecord(path, signed.size, signed.root, (record.Index+1)%signed.size, tlog.RecordHash(line)) == nil {
			fail("record %d: its proof holds for another place", record.Index)
		}
		refused += 2
	}
	return good, refused
}

func checkConsistency(path string, verifier note.Verifier, seen note.Verifier, stored *hashes) {
	parts := strings.SplitN(string(read(path)), "\n\n", 2)
	lines := strings.Split(parts[0], "\n")
	old, err := strconv.ParseInt(strings.TrimPrefix(lines[0], "old "), 10, 64)
	if err != nil {
		fail("%s: %v", path, err)
	}
	var proof tlog.TreeProof
	for _, text := range lines[1:] {
		hash, err := tlog.ParseHash(text)
		if err != nil {
			fail("%s: %v", path, err)
		}
		proof = append(proof, hash)
	}
	signed, err := openCheckpoint([]byte(parts[1]), verifier)
	if err != nil {
		fail("%s: %v", path, err)
	}
	before, err := tlog.TreeHash(old, stored)
	if err != nil {
		fail("%s: %v", path, err)
	}
	if err := tlog.CheckTree(proof, signed.size, signed.root, old, before); err != nil {
		fail("%s: %v", path, err)
	}
	before[0] ^= 1
	if tlog.CheckTree(proof, signed.size, signed.root, old, before) == nil {
		fail("%s: it holds for another old root", path)
	}
	// The witness's line, appended to the checkpoint, is one more signature of the same note.
	cosigned, err := os.ReadFile(path + ".cosigned")
	if err == nil {
		if _, err := note.Open(cosigned, note.VerifierList(seen)); err != nil {
			fail("%s: the cosignature: %v", path, err)
		}
		cosignatures++
	}
}

var cosignatures int

func main() {
	if len(os.Args) != 2 {
		fail("usage: verify FOLDER")
	}
	folder := os.Args[1]
	verifier, err := note.NewVerifier(strings.TrimSpace(string(read(folder, "vkey"))))
	if err != nil {
		fail("%v", err)
	}
	seen := newWitness(string(read(folder, "witness-vkey")))
	tiles := filepath.Join(folder, "tiles")
	signed, err := openCheckpoint(read(tiles, "checkpoint"), verifier)
	if err != nil {
		fail("%v", err)
	}
	stored, count := rebuild(tiles, signed.size)
	root, err := tlog.TreeHash(signed.size, stored)
	if err != nil || root != signed.root {
		fail("the entries lead to another root than the checkpoint: %v", err)
	}
	altered := bytes.Replace(read(tiles, "checkpoint"), []byte(fmt.Sprintf("\n%d\n", signed.size)), []byte(fmt.Sprintf("\n%d\n", signed.size+1)), 1)
	if _, err := openCheckpoint(altered, verifier); err == nil {
		fail("a checkpoint with another size opens")
	}
	included, refused := checkBundle(filepath.Join(folder, "bundle"), verifier)
	paths, _ := filepath.Glob(filepath.Join(folder, "consistency", "*.request"))
	for _, path := range paths {
		checkConsistency(path, verifier, seen, stored)
	}
	fmt.Printf("golang.org/x/mod/sumdb: %d entries and %d tiles lead to the signed root, %d inclusion proofs, "+
		"%d consistency proofs and %d cosignatures hold, %d altered ones are refused\n",
		signed.size, count, included, len(paths), cosignatures, refused+len(paths)+1)
}
