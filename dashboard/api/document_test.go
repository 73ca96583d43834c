package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
)

var update = flag.Bool("update", false, "write the golden copies anew")

// document is the OpenAPI document as it is served, indented.
func document(t testing.TB) []byte {
	t.Helper()
	rec := httptest.NewRecorder()
	New(Config{}).ServeHTTP(rec, httptest.NewRequest("GET", root+"/openapi.json", nil))
	if rec.Code != http.StatusOK {
		t.Fatal(rec.Code)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, rec.Body.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// golden compares a text with its kept copy, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s isn't what it was: look at the difference and run go test ./dashboard/api -update", name)
	}
}

func TestDocumentIsTheGoldenOne(t *testing.T) { golden(t, "testdata/openapi.json", document(t)) }

// parsed is the document with its validator.
func parsed(t testing.TB) validator.Validator {
	t.Helper()
	doc, err := libopenapi.NewDocument(document(t))
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(doc)
	for _, err := range errs {
		t.Fatal(err)
	}
	return v
}

func TestDocumentIsValid(t *testing.T) {
	ok, errs := parsed(t).ValidateDocument()
	for _, err := range errs {
		t.Errorf("%v: %v", err, err.SchemaValidationErrors)
	}
	if !ok {
		t.Error("the document isn't valid OpenAPI 3.1")
	}
	if !strings.Contains(string(document(t)), `"openapi": "3.1.0"`) {
		t.Error("the document isn't of OpenAPI 3.1")
	}
}

// The document as YAML says the same.
func TestDocumentAsYAML(t *testing.T) {
	rec := httptest.NewRecorder()
	New(Config{}).ServeHTTP(rec, httptest.NewRequest("GET", root+"/openapi.yaml", nil))
	text, err := io.ReadAll(rec.Body)
	if err != nil || !strings.Contains(string(text), "openapi: 3.1.0") {
		t.Errorf("%v %.200s", err, text)
	}
}
