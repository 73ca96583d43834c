package api

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/oapi-codegen/oapi-codegen/v2/pkg/codegen"

	"offload/dashboard/api/testdata/client"
	"offload/jobs"
)

// The client of testdata/client is what the generator makes of the document today, so that the test below is one of it.
func TestGeneratedClientIsOfTheDocument(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(document(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg := codegen.Configuration{PackageName: "client", Generate: codegen.GenerateOptions{Models: true, Client: true}, OutputOptions: codegen.OutputOptions{
		IncludeOperationIDs: []string{"createJob", "getJob", "listJobs", "listFiles", "makePlan", "actOnJobs", "removeJob"}}}
	code, err := codegen.Generate(doc, cfg.UpdateDefaults())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/client/client.go", []byte(code))
}

func TestGeneratedClientRunsAJob(t *testing.T) {
	w := newWorld(t)
	for i := range 10 {
		w.put(fmt.Sprint("file ", i), 100)
	}
	w.worker()
	defer http.DefaultClient.CloseIdleConnections()
	c, err := client.NewClientWithResponses(w.url)
	if err != nil {
		t.Fatal(err)
	}
	policy := client.OrderDeleteSourceVerified
	order := client.Order{Source: w.src, Destination: w.dst, DeleteSource: &policy}
	plan, err := c.MakePlanWithResponse(t.Context(), nil, order)
	if err != nil || plan.JSON200 == nil || plan.JSON200.Copy.Files != 10 {
		t.Fatalf("%v %s", err, plan.Body)
	}
	key := "of this test"
	made, err := c.CreateJobWithResponse(t.Context(), &client.CreateJobParams{IdempotencyKey: &key}, order)
	if err != nil || made.JSON201 == nil {
		t.Fatalf("%v %s", err, made.Body)
	}
	w.reach(made.JSON201.Id, jobs.Completed)
	shown, err := c.GetJobWithResponse(t.Context(), made.JSON201.Id)
	if err != nil || shown.JSON200 == nil || shown.JSON200.Files.Deleted != 10 {
		t.Fatalf("%v %s", err, shown.Body)
	}
	files, err := c.ListFilesWithResponse(t.Context(), made.JSON201.Id, nil)
	if err != nil || files.JSON200 == nil || len(*files.JSON200.Files) != 10 {
		t.Fatalf("%v %s", err, files.Body)
	}
	list, err := c.ListJobsWithResponse(t.Context(), nil)
	if err != nil || list.JSON200 == nil || len(list.JSON200.Jobs) != 1 {
		t.Fatalf("%v %s", err, list.Body)
	}
	order.DeleteSource = nil
	order.Hold = &key
	bad, err := c.CreateJobWithResponse(t.Context(), nil, order)
	if err != nil || bad.ApplicationproblemJSON422 == nil || len(*bad.ApplicationproblemJSON422.Errors) == 0 {
		t.Fatalf("%v %s", err, bad.Body)
	}
	gone, err := c.RemoveJobWithResponse(t.Context(), made.JSON201.Id)
	if err != nil || gone.StatusCode() != http.StatusNoContent {
		t.Fatalf("%v %s", err, gone.Body)
	}
}
