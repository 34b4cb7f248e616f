package e2e

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"ssegw/e2e/stack"
)

// suite is the table of all tests that run on several stores, with the
// capabilities that each test needs of a store. A store that lacks one of them
// does not run the test. TEST/PART is a subtest, or what the test leaves out.
// testdata/skips.txt lists all of this by store.
var suite = map[string][]capability{
	"TestBrokenUploads":          {canRestart},
	"TestCopies":                 nil,
	"TestCopyMovesNoBody":        nil,
	"TestCopyOntoItself":         nil,
	"TestDefaultKeyChanges":      nil,
	"TestDefaults":               nil,
	"TestDrain":                  nil,
	"TestForcedFramings":         {canRestart},
	"TestGatewayKilled":          {canRestart},
	"TestJobs":                   nil,
	"TestKESDown":                nil,
	"TestListingRequests":        nil,
	"TestMCEncrypt":              nil,
	"TestMigratingBucket":        nil,
	"TestMigration":              {canRestart},
	"TestModel":                  {canConditions, canListETags, canRestart, canTags},
	"TestMultipartReplicas":      nil,
	"TestRandomWrites":           nil,
	"TestRefusedUploads":         {canRestart},
	"TestRegistry":               nil,
	"TestRotateRoot":             nil,
	"TestRuleReachesReplica":     nil,
	"TestStateTampering":         nil,
	"TestStoreFacts":             nil,
	"TestStoreRestarts":          {canRestart},
	"TestTampering":              nil,
	"TestUpdateObjectEncryption": nil,
	"TestWhiteSpace":             nil,

	"TestCopyOntoItself/directories":     {canDirectories},
	"TestForcedFramings/plain":           nil,
	"TestForcedFramings/signed":          {canSignedChunks},
	"TestForcedFramings/trailer":         {canTrailers},
	"TestJobs/conditions":                {canConditions},
	"TestJobs/part-limits":               {canComplete, canPartSizes},
	"TestJobs/tags":                      {canTags},
	"TestListingRequests/versions":       {canListETags},
	"TestMigration/load":                 {canConditions},
	"TestMigration/locks":                {canLocks},
	"TestMigration/locks-match":          {canVersionMatch},
	"TestMigration/tags":                 {canTags},
	"TestModel/abort-once":               {canAbortOnce},
	"TestModel/copy-tags":                {canCopyTags},
	"TestModel/marker-tags":              {canMarkerTags},
	"TestModel/self-sums":                {canSelfSums},
	"TestModel/bare-parts":               {canBareParts},
	"TestModel/copy-version":             {canCopyVersion},
	"TestModel/late-versions":            {canLateVersions},
	"TestModel/list-end":                 {canListEnd},
	"TestModel/delete-missing":           {canDeleteMatch},
	"TestModel/etags":                    {canETags},
	"TestModel/list-tagged":              {canListTagged},
	"TestModel/match-absent":             {canMatchAbsent},
	"TestModel/mark-again":               {canMarkAgain},
	"TestModel/mark-missing":             {canMarkMissing},
	"TestModel/mark-null":                {canMarkNull},
	"TestModel/null":                     {canNullVersions},
	"TestModel/versions":                 {canMarked},
	"TestModel/version-writes":           {canVersionWrites},
	"TestModel/upload-tags":              {canUploadTags},
	"TestRandomWrites/directories":       {canDirectories},
	"TestRandomWrites/tags":              {canTags},
	"TestRandomWrites/upload-tags":       {canUploadTags},
	"TestRotateRoot/conditions":          {canConditions},
	"TestUpdateObjectEncryption/no-body": {canCopyTags},
	"TestUpdateObjectEncryption/tags":    {canTags},

	// What a client checks in a plain bucket is up to the store.
	"TestDefaults/http/aws-sdk-go-v2/plain": {canPartNumbers},
	"TestDefaults/http/aws-sdk-js/plain":    {canETags},
	"TestDefaults/http/boto3/plain":         {canChecksums, canRangeSize},
	"TestDefaults/http/mc-versions/plain":   {canVersionParts},
	"TestDefaults/http/mc-versions/SSE-S3":  {canVersionParts},
	"TestDefaults/http/mc-versions/SSE-KMS": {canVersionParts},
	"TestDefaults/http/s3fs/SSE-S3":         {canDirectories},
	"TestDefaults/http/s3fs/SSE-KMS":        {canDirectories},

	"TestCore/attributes":   nil,
	"TestCore/conditions":   {canConditions},
	"TestCore/copies":       nil,
	"TestCore/deletes":      nil,
	"TestCore/keys":         nil,
	"TestCore/listings":     nil,
	"TestCore/location":     nil,
	"TestCore/metadata":     nil,
	"TestCore/multipart":    nil,
	"TestCore/ranges":       nil,
	"TestCore/rules":        nil,
	"TestCore/sizes":        nil,
	"TestCore/subresources": nil,
	"TestCore/tags":         {canTags},
	"TestCore/versions":     {canVersions},
}

// allStores are the stores that the tests can start. By default the first two
// run the suite without TestCore, Ceph and Swift run TestCore, and Ceph runs a
// part of TestDefaults. make stores runs everything on all.
var allStores = []string{stack.StoreMinIO, stack.StoreVersitygw, stack.StoreCeph, stack.StoreSwift, stack.StoreSeaweedFS}

// swiftLarge is a name for Swift with room for a sealed header in a value of
// metadata, as its operators can give it.
const swiftLarge = "swift-large"

// external is the name of a store that the tests do not start:
//
//	SSEGW_E2E_STORE=https://s3.example.com SSEGW_E2E_ACCESS_KEY=... SSEGW_E2E_SECRET_KEY=...
//
// The tests make buckets with names of their own and delete them.
const external = "external"

// storesOf returns the stores of a test: those in SSEGW_E2E_STORES, separated
// by commas, or the usual ones.
func storesOf(usual ...string) []string {
	switch {
	case os.Getenv("SSEGW_E2E_STORE") != "":
		return []string{external}
	case os.Getenv("SSEGW_E2E_STORES") == "all":
		return allStores
	case os.Getenv("SSEGW_E2E_STORES") != "":
		return strings.Split(os.Getenv("SSEGW_E2E_STORES"), ",")
	}
	return usual
}

// onStores runs a test of the suite on each store. By default these are MinIO
// and versitygw, and without -short also those in more. The tests run in
// parallel, because they mostly wait.
func onStores(t *testing.T, test func(t *testing.T, r *rig), more ...string) {
	for _, name := range storesOf(append([]string{stack.StoreMinIO, stack.StoreVersitygw}, more...)...) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require(t, t.Name())
			if slices.Contains(more, name) {
				long(t)
			}
			test(t, newRigOn(t, name))
		})
	}
}

// newRigOn is newRig with another store.
func newRigOn(t *testing.T, name string) *rig {
	t.Helper()
	if name == external {
		return externalRig(t)
	}
	s := newStack(t)
	options := stack.StoreOptions{}
	if name == swiftLarge {
		name, options.MetadataValue = stack.StoreSwift, 2048
	}
	store, err := s.StartStore(t.Context(), name, options)
	if missing := (*stack.MissingError)(nil); errors.As(err, &missing) {
		skip(t, missing.Error())
	}
	return &rig{name: name, stack: s, kes: must(s.StartKES(t.Context(), stack.KESOptions{Pausable: true}))(t), store: must(store, err)(t)}
}

// skipsFile lists the tests that stores do not run. A line is the full name of
// a test and the capability that its store lacks. .ci/gotest reads it too.
const skipsFile = "testdata/skips.txt"

// require skips the test with the given full name, TEST/STORE or
// TEST/STORE/PART, if its store lacks something that the test needs.
func require(t *testing.T, full string) {
	t.Helper()
	if c, lacks := missing(t, full); lacks {
		t.Skipf("the store has no %s", c)
	}
}

// may reports whether the store has all that a part of the running test needs.
func may(t *testing.T, part string) bool {
	t.Helper()
	c, lacks := missing(t, t.Name()+"/"+part)
	if lacks {
		t.Logf("without %s: the store has no %s", part, c)
	}
	return !lacks
}

// missing returns the capability that the store of a full name lacks for it.
func missing(t *testing.T, full string) (c capability, lacks bool) {
	t.Helper()
	test, store := splitName(full)
	needs, ok := suite[test]
	if !ok {
		t.Fatalf("%s is not in the table of the suite", test)
	}
	if store != external {
		c, lacks = listedSkips(t)[full]
		return c, lacks
	}
	for _, c := range needs {
		if !externalCan(t, c) {
			return c, true
		}
	}
	return "", false
}

// requireListed is require for a part of a test, which may not be in the table.
func requireListed(t *testing.T) {
	t.Helper()
	if test, _ := splitName(t.Name()); suite[test] != nil {
		require(t, t.Name())
	}
}

// splitName returns the test's name in the suite and its store.
func splitName(full string) (test, store string) {
	parts := strings.Split(full, "/")
	return strings.Join(slices.Delete(slices.Clone(parts), 1, 2), "/"), parts[1]
}

// listedSkips reads the list of skips: what is missing, by full name.
func listedSkips(t *testing.T) map[string]capability {
	t.Helper()
	skips := make(map[string]capability)
	for line := range strings.Lines(string(must(os.ReadFile(skipsFile))(t))) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, lacks, _ := strings.Cut(line, ": ")
		skips[name] = capability(lacks)
	}
	return skips
}

// skipsOf returns the lines of the list for a store.
func skipsOf(store string, can func(capability) bool) []string {
	var lines []string
	for test, needs := range suite {
		name, part, _ := strings.Cut(test, "/")
		full := name + "/" + store
		if part != "" {
			full += "/" + part
		}
		for _, c := range needs {
			if !can(c) {
				lines = append(lines, fmt.Sprintf("%s: %s", full, c))
				break
			}
		}
	}
	slices.Sort(lines)
	return lines
}
